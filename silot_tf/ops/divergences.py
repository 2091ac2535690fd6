"""Divergence from the count prior: a truncated geometric number of objects, spread uniformly over the slots.

The prior draws a count `c` in 0..N with probability proportional to `p^c`, then switches on a uniformly random subset
of `c` of the N slots. Walking over the slots in order, the prior probability that slot `i` is on, given that `n` of
the earlier ones were, depends on `(i, n)` only:

    D[i, n] = sum_c p^c C(N - i, c - n) / C(N, c),      m[i, n] = D[i + 1, n + 1] / D[i, n]

and Pascal's rule gives `D[i, n] = D[i + 1, n] + D[i + 1, n + 1]`. The table of `m` is computed once per value of `p`
in log space (float64): for few slots by the sum, all entries at once (memory grows with the cube of N), for many by
Pascal's rule, row after row. It is then gathered with the running count of objects. The recursion over counts that this
replaces underflows in float32 from about the 20th object on.
"""

import functools

import numpy as np
import tensorflow as tf
from scipy.special import gammaln

from silot_tf.ops.logarithms import guarded_log, guarded_log_rest

EMPTY = -1e300  # logarithm of 0 that survives sums
MOST_SLOTS_AT_ONCE = 128  # 17 MB of binomials; with 512 they would take a gigabyte, and sums of them several


def count_prior_table(num_slots: int, log_odds) -> tf.Tensor:
    """Prior probabilities `m[i, n]` of slot i being on after n earlier ones, `[N, N + 1]` float64.

    Entries with n > i can never be asked for and have no meaning.

    Args:
      num_slots: N.
      log_odds: scalar; `p = sigmoid(log_odds)`.

    Source: SILOT specification 3.3.
    """
    log_odds = tf.cast(tf.convert_to_tensor(log_odds, dtype_hint=tf.float64), tf.float64)
    log_p = -tf.nn.softplus(-log_odds)
    log_d = (_log_d_at_once if num_slots <= MOST_SLOTS_AT_ONCE else _log_d_by_pascal)(num_slots, log_p)
    # the last column is empty: more objects than slots
    log_d = tf.concat([log_d, tf.fill([num_slots, 1], tf.constant(EMPTY, tf.float64))], axis=1)
    return tf.sigmoid(log_d[:, 1:] - log_d[:, :-1])


def _log_d_at_once(num_slots: int, log_p) -> tf.Tensor:
    """`ln D[i, n]` for i = 1..N (rows), n = 0..N, by the sum over counts."""
    counts = tf.range(num_slots + 1, dtype=tf.float64)
    return tf.reduce_logsumexp(_log_binomials(num_slots) + counts * log_p, axis=-1)


def _log_d_by_pascal(num_slots: int, log_p) -> tf.Tensor:
    """The same by Pascal's rule, from `D[N, n] = p^n / C(N, n)` backwards; memory grows with the square of N."""
    n = np.arange(num_slots + 1, dtype=np.float64)
    log_all = gammaln(num_slots + 1) - gammaln(n + 1) - gammaln(num_slots - n + 1)
    last = tf.range(num_slots + 1, dtype=tf.float64) * log_p - log_all

    def row_before(row, _):
        one_more = tf.concat([row[1:], tf.constant([EMPTY], tf.float64)], axis=0)
        return tf.maximum(row, one_more) + tf.nn.softplus(-tf.abs(row - one_more))

    before = tf.scan(row_before, tf.range(num_slots - 1), last, reverse=True)
    return tf.stop_gradient(tf.concat([before, last[None]], axis=0))


@functools.lru_cache(maxsize=8)
def _log_binomials(num_slots: int) -> np.ndarray:
    """`ln C(N - i, c - n) - ln C(N, c)` for i = 1..N, n = 0..N, c = 0..N; `EMPTY` where the binomial is 0."""
    i = np.arange(1, num_slots + 1, dtype=np.float64)[:, None, None]
    n = np.arange(num_slots + 1, dtype=np.float64)[None, :, None]
    c = np.arange(num_slots + 1, dtype=np.float64)[None, None, :]
    upper, lower = num_slots - i, c - n
    possible = (lower >= 0) & (lower <= upper)
    lower = np.where(possible, lower, 0.0)
    log_all = gammaln(num_slots + 1) - gammaln(c + 1) - gammaln(num_slots - c + 1)
    log_rest = gammaln(upper + 1) - gammaln(lower + 1) - gammaln(upper - lower + 1)
    return np.where(possible, log_rest - log_all, EMPTY)


def count_kl(probability, sample, log_odds) -> tf.Tensor:
    """Divergence of each slot's presence from the count prior, `[..., N]` nats; gradients reach `probability` only.

    Args:
      probability: `[..., N]` posterior probability that each slot is on, in the order in which the prior walks.
      sample: `[..., N]` sampled presence in [0, 1]; above 0.5 counts as on.
      log_odds: scalar log-odds of p.

    Source: SILOT specification 3.3.
    """
    num_slots = probability.shape[-1]
    table = tf.cast(tf.stop_gradient(count_prior_table(num_slots, log_odds)), probability.dtype)
    on = tf.cast(tf.stop_gradient(sample) > 0.5, tf.int32)
    earlier = tf.cumsum(on, axis=-1, exclusive=True)
    index = earlier + tf.range(num_slots) * (num_slots + 1)
    prior = tf.gather(tf.reshape(table, [-1]), index)
    return bernoulli_kl(probability, prior)


def bernoulli_kl(probability, prior) -> tf.Tensor:
    """`KL(Bernoulli(probability) || Bernoulli(prior))` per element, with the authors' guards, nats."""
    on = probability * (guarded_log(probability) - guarded_log(prior))
    off = (1 - probability) * (guarded_log_rest(probability) - guarded_log_rest(prior))
    return on + off


def count_kl_by_recursion(probability, sample, log_odds) -> tf.Tensor:
    """Same as `count_kl`, by the authors' recursion over counts (a test oracle; needs float64 beyond ~20 objects)."""
    num_slots = probability.shape[-1]
    counts = tf.range(num_slots + 1, dtype=probability.dtype)
    p = tf.sigmoid(tf.cast(log_odds, probability.dtype))
    weights = p**counts / tf.reduce_sum(p**counts)
    weights = tf.broadcast_to(weights, tf.concat([tf.shape(probability)[:-1], [num_slots + 1]], 0))
    on_before = tf.zeros_like(probability[..., 0])
    terms = []
    for i in range(num_slots):
        n = on_before[..., None]
        on = tf.clip_by_value((counts - n) / (num_slots - i), 0.0, 1.0)
        off = tf.clip_by_value((num_slots - i - counts + n) / (num_slots - i), 0.0, 1.0)
        prior = tf.reduce_sum(weights * on, axis=-1)
        terms.append(bernoulli_kl(probability[..., i], tf.stop_gradient(prior)))
        decision = tf.cast(sample[..., i] > 0.5, probability.dtype)
        weights *= tf.where(decision[..., None] > 0, on, off)
        weights /= tf.maximum(tf.reduce_sum(weights, axis=-1, keepdims=True), 1e-6)
        on_before += decision
    return tf.stack(terms, axis=-1)
