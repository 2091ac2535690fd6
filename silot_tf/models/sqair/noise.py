"""All random numbers of a clip, drawn before the loop over time."""

import tensorflow as tf

from silot_tf.ops import seeds

PARTS = ("propagation", "discovery")
_CHOICE_STREAM = 2**31 - 1  # of the draw that chooses a particle; no frame has this number


def noise_of_clips(
    batch_size, frames: int, particles: int, num_slots: int, what_size: int, first_frame, seed, parts=PARTS
) -> dict:
    """Noise of parts of the network.

    The number of a frame and the seed alone decide the noise of that frame, whatever clip it is cut into.

    Args:
      batch_size: B.
      frames: T.
      particles: K.
      num_slots: N.
      what_size: A.
      first_frame: number of the first frame, counted from the initial state.
      seed: `[2]` int32.
      parts: their names.

    Returns:
      name of the part -> `where [B,T,K,N,4]`, `what [B,T,K,N,A]` standard normal, `pres [B,T,K,N,1]`
      uniform in (0, 1).
    """
    normals = what_size + 4
    count = particles * len(parts) * num_slots
    # One draw per frame for everything: few random operations, and chunks of a clip see the noise of the whole.
    draws = [
        seeds.uniform([batch_size, count * (normals + 1)], seeds.fold(seed, first_frame + t)) for t in range(frames)
    ]
    gaussian, pres = tf.split(tf.stack(draws, axis=1), [count * normals, count], axis=-1)
    gaussian = tf.reshape(tf.math.ndtri(gaussian), [-1, frames, len(parts), particles, num_slots, normals])
    where, what = tf.split(gaussian, [4, what_size], axis=-1)
    pres = tf.reshape(pres, [-1, frames, len(parts), particles, num_slots, 1])
    noises = {"where": where, "what": what, "pres": pres}
    return {part: {name: value[:, :, i] for name, value in noises.items()} for i, part in enumerate(parts)}


def gumbel(batch_size, particles: int, seed) -> tf.Tensor:
    """`[B,K]` standard Gumbel noise, one for a whole video: the largest sum with log-weights is a draw by weight."""
    uniform = seeds.uniform([batch_size, particles], seeds.fold(seed, _CHOICE_STREAM))
    return -tf.math.log(-tf.math.log(uniform))
