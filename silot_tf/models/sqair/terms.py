"""Log-probabilities of everything drawn, for all frames at once after the loop over time.

Source: Kosiorek et al. 2018, section 3.2, and release; equations of the importance weights.
"""

import tensorflow as tf

from silot_tf.models.sqair import counts, presence, priors
from silot_tf.ops import distributions


def priors_of(stages: dict, propagation_prior, where_prior, count_prior, capped: bool) -> dict:
    """Prior distributions at the stages' samples, `[M,T,...]`.

    Returns:
      `propagation`: see `PropagationPrior`; `where_mean`, `where_std` `[M,T,N,4]` of discovered objects; `count`
      `[M,T,N + 1]` log-probabilities; `expected [M,T,1]`.
    """
    frames = stages["hidden_prior"].shape[1]
    flat = {name: _merge(stages[name]) for name in ("hidden_prior", "scene", "is_later")}
    old = {name: _merge(value) for name, value in stages["old"].items()}
    propagation = propagation_prior(flat["hidden_prior"], old)
    expected = priors.expected_to_remain(propagation["logit"])
    where = where_prior(where_prior.context(flat["scene"], expected), _merge(stages["discovery"]["where"]))
    forced = stages.get("forced_count")
    count = count_prior(expected, flat["is_later"], None if forced is None else _merge(forced))
    if capped:
        count = counts.without_room(count, _merge(stages["room"]))
    results = {
        "propagation": propagation, "where_mean": where[0], "where_std": where[1], "count": count, "expected": expected
    }  # fmt: skip
    return tf.nest.map_structure(lambda value: tf.reshape(value, [-1, frames, *value.shape[1:]]), results)


def log_probabilities(stages: dict, prior: dict, covariance_factor, noise) -> dict:
    """Terms of the importance weights per particle and frame, `[M,T]` nats unless said otherwise.

    Args:
      stages: see `SQAIR.unroll_stages`.
      prior: see `priors_of`.
      covariance_factor: `[4,4]`, see `Propagation.covariance_factor`.
      noise: what was drawn, `[M,T,N,...]` per part, or None.

    Returns:
      per slot `[M,T,N]`, for propagation and discovery: `<part>_what`, `<part>_where` and with `_prior`, already
      multiplied by presence, and `propagation_pres`, `propagation_pres_prior`; and `count`, `count_prior`,
      `propagation`, `propagation_prior`, `discovery`, `discovery_prior`, `kl` (their difference, a sample) and
      `discrete` (posterior of presences).
    """
    found, stayed = stages["discovery"], stages["propagation"]
    noise = noise or {part: {"what": None, "where": None} for part in ("propagation", "discovery")}
    old = stages["old"]["pres"][..., 0]
    terms = {}
    for part, sample, mask in (("discovery", found, found["pres"]), ("propagation", stayed, stayed["pres"])):
        factor = tf.linalg.diag_part(covariance_factor) if part == "propagation" else 1.0
        density = {
            "what": distributions.log_density_of_noise(sample["what_std"], noise[part]["what"]),
            "where": distributions.log_density_of_noise(sample["where_std"] * factor, noise[part]["where"]),
        }
        expected = prior["propagation"]
        if part == "discovery":
            what = sample["what"]
            expected = {"what_mean": tf.zeros_like(what), "what_std": tf.ones_like(what)}
            expected |= {"where_mean": prior["where_mean"], "where_std": prior["where_std"]}
        for name, value in density.items():
            prior_density = distributions.normal(expected[f"{name}_mean"], expected[f"{name}_std"])
            terms[f"{part}_{name}"] = mask[..., 0] * value
            terms[f"{part}_{name}_prior"] = mask[..., 0] * tf.reduce_sum(prior_density.log_prob(sample[name]), axis=-1)
    terms["propagation_pres"] = old * presence.log_bernoulli(stayed["pres"], stayed["logit"])[..., 0]
    terms["propagation_pres_prior"] = (
        old * presence.log_bernoulli(stayed["pres"], prior["propagation"]["logit"])[..., 0]
    )
    number = tf.reduce_sum(found["pres"], axis=[2, 3])
    terms["count"] = presence.log_count(found["pres"][..., 0], found["logit"][..., 0])
    log_count = tf.reshape(prior["count"], [-1, prior["count"].shape[-1]])
    terms["count_prior"] = tf.reshape(
        counts.log_probability(log_count, tf.reshape(number, [-1])), [-1, *number.shape[1:]]
    )
    summed = {name: tf.reduce_sum(value, axis=-1) if len(value.shape) == 3 else value for name, value in terms.items()}
    for end in ("", "_prior"):
        terms[f"discovery{end}"] = summed[f"count{end}"] + sum(summed[f"discovery_{n}{end}"] for n in ("what", "where"))
        terms[f"propagation{end}"] = sum(summed[f"propagation_{n}{end}"] for n in ("pres", "what", "where"))
    posterior = terms["discovery"] + terms["propagation"]
    terms["kl"] = posterior - terms["discovery_prior"] - terms["propagation_prior"]
    terms["discrete"] = terms["count"] + summed["propagation_pres"]
    return terms


def _merge(value):
    """`[M,T,...]` to `[M * T,...]`."""
    return tf.reshape(value, [-1, *value.shape[2:]])
