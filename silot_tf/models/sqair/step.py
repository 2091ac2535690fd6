"""One frame of the network for all particles: propagation, discovery, merging; and the same from the learned prior.

Source: Kosiorek et al. 2018, section 3, and release.
"""

import tensorflow as tf

from silot_tf.models.sqair import counts, merging, presence, priors
from silot_tf.models.sqair.encoders import reader


class FrameStep:
    """The network's step with everything fixed that does not change over the frames of a clip.

    Args:
      model: the network.
      particles: K.
      first: whether the first frame is the first of the video, known while tracing: propagation, which has nothing to
        propagate then, is left out of it.
      rollout_from: see `VideoModel.unroll`.
      rollout_discovery: whether the prior also brings new objects.
    """

    def __init__(self, model, particles: int, first: bool, rollout_from=None, rollout_discovery: bool = False):
        self.model, self.particles, self.first = model, particles, first
        self.rollout_from, self.rollout_discovery = rollout_from, rollout_discovery

    def __call__(self, state: dict, inputs: dict) -> tuple[dict, dict]:
        """Next state and all intermediate results `[M,...]`, rows of one video together.

        Args:
          state: `objects`, `track_id`, `last_id`, `frame` and `forced`, all `[M,...]`.
          inputs: `frame` (readable, `[B,...]`), `driven [B,U]` (what frames add to discovery) and optionally `noise`.
        """
        model, objects = self.model, state["objects"]
        noise = inputs.get("noise")
        noise = {p: {n: _merge(v) for n, v in noise[p].items()} for p in noise} if noise is not None else {}
        drawn = {part: noise.get(part) for part in ("propagation", "discovery")}
        first, self.first = self.first, False
        read = reader(inputs["frame"], self.particles, model.glimpse_shape)
        is_later = tf.cast(state["frame"] > 0, tf.float32)[:, None]
        rolling = None
        if self.rollout_from is not None:
            rolling = tf.cast(state["frame"] >= self.rollout_from, tf.float32)[:, None, None]
        forced = self._forced_logits(state["forced"], is_later)

        hidden_prior = tf.zeros_like(objects["hidden_prior"]) if first else model.propagation_prior.advance(objects)
        if first:
            propagated = _nothing(objects)
        else:
            propagated = model.propagation(
                objects, read=read, noise=drawn["propagation"], logits=forced.get("propagation")
            )
        prior = None
        if rolling is not None:
            prior = model.propagation_prior(hidden_prior, objects)
            sampled = self._propagate_by_prior(objects, prior, drawn["propagation"])
            propagated |= {n: tf.where(rolling > 0, value, propagated[n]) for n, value in sampled.items()}
        scene = self._scene(propagated, first)

        stayed = propagated["pres"][..., 0]
        room = model.num_slots - tf.reduce_sum(stayed, axis=1, keepdims=True)
        steps = tf.range(1, model.num_slots + 1, dtype=tf.float32)
        allowed = tf.cast(steps <= room, tf.float32)[..., None] if model.cap_discovery else None
        driven = tf.repeat(inputs["driven"], self.particles, axis=0)
        told = {"logits": forced.get("discovery"), "allowed": allowed}
        discovered = model.discovery(driven, read=read, scene=scene, noise=drawn["discovery"], **told)
        if rolling is not None:
            sampled = self._discover_by_prior(discovered, prior, scene, is_later, room, drawn["discovery"])
            discovered |= {n: tf.where(rolling > 0, value, discovered[n]) for n, value in sampled.items()}

        found = discovered["pres"][..., 0]
        places = merging.assignment(stayed, found)
        names = ("what", "where", "pres", "logit")
        sizes = [objects[name].shape[-1] for name in names]
        packed = [tf.concat([part[name] for name in names], axis=-1) for part in (propagated, discovered)]
        merged = dict(zip(names, tf.split(merging.merge(places, *packed), sizes, axis=-1), strict=True))
        merged["hidden"] = merging.merge_states(places, propagated["hidden"], model.initial_temporal)
        merged["hidden_prior"] = merging.merge_states(places, hidden_prior, model.initial_prior)
        track_id, is_new, last_id = merging.identities(places, state["track_id"], state["last_id"], stayed, found)

        next_state = {
            "objects": merged,
            "track_id": track_id,
            "last_id": last_id,
            "frame": state["frame"] + 1,
            "forced": state["forced"],
        }
        stages = {
            "old": {name: objects[name] for name in ("what", "where", "pres", "logit")},
            "hidden_prior": hidden_prior,
            "propagation": propagated,
            "discovery": discovered,
            "scene": scene,
            "room": room,
            "is_later": is_later,
            "places": places,
            "objects": merged,
            "track_id": track_id,
            "last_id": last_id,
            "is_new": is_new,
        }
        if "count" in forced:
            stages["forced_count"] = forced["count"]
        return next_state, stages

    def _scene(self, propagated, first):
        """What is known after propagation, `[M,U]`: a sum over present objects."""
        pres = propagated["pres"]
        if first:
            return tf.zeros([tf.shape(pres)[0], self.model.units])
        latents = tf.concat([propagated["what"], propagated["where"]], axis=-1)
        codes = self.model.latent_encoder(tf.reshape(latents, [-1, latents.shape[-1]]))
        return tf.reduce_sum(pres * tf.reshape(codes, [-1, pres.shape[1], codes.shape[-1]]), axis=1)

    def _forced_logits(self, forced, is_later) -> dict:
        """Log-odds in place of the network's (NaN: the network's own), where counts are told; `{}` if never."""
        if not self.model.forces_count:
            return {}
        told = tf.cast(forced, tf.float32)[:, None]
        is_told, nan = told >= 0, tf.constant(float("nan"))
        slots = tf.range(1, self.model.num_slots + 1, dtype=tf.float32)
        opened = tf.where((slots <= told) & (is_later < 0.5), presence.OFF, -presence.OFF)
        stays = tf.where(is_later > 0.5, presence.OFF, -presence.OFF) + tf.zeros_like(slots)
        number = tf.where(is_later > 0.5, 0.0, told)
        count = counts.FORCED * tf.cast(tf.range(self.model.num_slots + 1, dtype=tf.float32) == number, tf.float32)
        return {
            "discovery": tf.where(is_told, opened, nan)[..., None],
            "propagation": tf.where(is_told, stays, nan)[..., None],
            "count": tf.where(is_told, count, 0.0),
        }

    def _propagate_by_prior(self, objects, prior, noise) -> dict:
        """Sample of the learned prior; temporal states, which only glimpses change, stay."""
        drawn = noise or {"where": 0.0, "what": 0.0, "pres": None}
        return {
            "where": prior["where_mean"] + prior["where_std"] * drawn["where"],
            "what": prior["what_mean"] + prior["what_std"] * drawn["what"],
            "pres": presence.sample(objects["pres"], prior["logit"], drawn["pres"]),
            "logit": prior["logit"],
            "hidden": objects["hidden"],
        }

    def _discover_by_prior(self, discovered, prior, scene, is_later, room, noise) -> dict:
        """Objects out of nowhere, as many as the count prior says; none unless wanted."""
        model, slots = self.model, self.model.num_slots
        if not self.rollout_discovery:
            absent = tf.zeros_like(discovered["pres"])
            return {"pres": absent, "logit": absent - presence.OFF}
        expected = priors.expected_to_remain(prior["logit"])
        log_counts = model.count_prior(expected, is_later)
        if model.cap_discovery:
            log_counts = counts.without_room(log_counts, room)
        number = counts.sample_count(log_counts, None if noise is None else noise["pres"][:, 0])
        pres = tf.cast(tf.range(1, slots + 1, dtype=tf.float32) <= number, tf.float32)[..., None]
        context = model.where_prior.context(scene, expected)
        where, previous = [], model.where_prior.first(tf.shape(pres)[0])
        for j in range(slots):
            mean, std = model.where_prior.step(context, previous)
            previous = mean if noise is None else mean + std * noise["where"][:, j]
            where.append(previous)
        what = tf.zeros_like(discovered["what"]) if noise is None else noise["what"]
        logit = presence.OFF * (2.0 * pres - 1.0)
        return {"where": tf.stack(where, axis=1), "what": what, "pres": pres, "logit": logit}


def _nothing(objects) -> dict:
    """What propagation gives where there was nothing to propagate."""
    absent = tf.zeros_like(objects["pres"])
    what, where = tf.zeros_like(objects["what"]), tf.zeros_like(objects["where"])
    return {
        "what": what,
        "what_mean": what,
        "what_std": tf.ones_like(what),
        "where": where,
        "where_mean": where,
        "where_std": tf.ones_like(where),
        "pres": absent,
        "logit": absent - presence.OFF,
        "hidden": objects["hidden"],
        "relation": tf.zeros_like(objects["hidden"]),
        "proposal": where,
        "proposal_code": what,
    }


def _merge(value):
    """`[B,K,...]` to `[B * K,...]`."""
    return tf.reshape(value, [-1, *value.shape[2:]])
