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
    noise = noise or {}
    old = stages["old"]["pres"][..., 0]
    what = found["what"]
    expected = {"what_mean": tf.zeros_like(what), "what_std": tf.ones_like(what)}
    expected |= {name: prior[name] for name in ("where_mean", "where_std", "count")}
    terms = discovery_terms(found, expected, noise.get("discovery"))
    factor = tf.linalg.diag_part(covariance_factor)
    terms |= latent_terms("propagation", stayed, prior["propagation"], noise.get("propagation"), factor)
    for end, logit in (("", stayed["logit"]), ("_prior", prior["propagation"]["logit"])):
        terms[f"propagation_pres{end}"] = old * presence.log_bernoulli(stayed["pres"], logit)[..., 0]
        parts = [tf.reduce_sum(terms[f"propagation_{name}{end}"], axis=-1) for name in ("pres", "what", "where")]
        terms[f"propagation{end}"] = tf.add_n(parts)
    posterior = terms["discovery"] + terms["propagation"]
    terms["kl"] = posterior - terms["discovery_prior"] - terms["propagation_prior"]
    terms["discrete"] = terms["count"] + tf.reduce_sum(terms["propagation_pres"], axis=-1)
    return terms


def discovery_terms(found, prior: dict, noise) -> dict:
    """Terms of objects that were found one by one, with any leading axes.

    Args:
      found: see `Discovery`.
      prior: `what_mean`, `what_std`, `where_mean`, `where_std` `[..., N, F]`, and `count [..., N + 1]`
        log-probabilities.
      noise: see `latent_terms`.

    Returns:
      `discovery_what` and so on, see `latent_terms`; and summed `[...]`: `count`, `count_prior`, `discovery`,
      `discovery_prior`.
    """
    terms = latent_terms("discovery", found, prior, noise)
    terms["count"] = presence.log_count(found["pres"][..., 0], found["logit"][..., 0])
    terms["count_prior"] = counts.log_probability(prior["count"], tf.reduce_sum(found["pres"], axis=[-2, -1]))
    for end in ("", "_prior"):
        latents = [tf.reduce_sum(terms[f"discovery_{name}{end}"], axis=-1) for name in ("what", "where")]
        terms[f"discovery{end}"] = terms[f"count{end}"] + tf.add_n(latents)
    return terms


def latent_terms(part: str, sample: dict, prior: dict, noise, factor=1.0) -> dict:
    """`<part>_what`, `<part>_where`, and with `_prior`: log densities `[..., N]` of samples, times their presence.

    Args:
      part: name of the part of the network.
      sample: `what`, `where`, their `_mean` and `_std`, and `pres`, all `[..., N, F]`.
      prior: `what_mean`, `what_std`, `where_mean`, `where_std`.
      noise: `what`, `where` that the samples were made with; None for none (samples are means).
      factor: on the standard deviations of boxes.
    """
    present, drawn, terms = sample["pres"][..., 0], noise or {}, {}
    for name, scale in (("what", 1.0), ("where", factor)):
        density = distributions.log_density_of_noise(sample[f"{name}_std"] * scale, drawn.get(name))
        expected = distributions.normal(prior[f"{name}_mean"], prior[f"{name}_std"])
        terms[f"{part}_{name}"] = present * density
        terms[f"{part}_{name}_prior"] = present * tf.reduce_sum(expected.log_prob(sample[name]), axis=-1)
    return terms


def _merge(value):
    """`[M,T,...]` to `[M * T,...]`."""
    return tf.reshape(value, [-1, *value.shape[2:]])
