"""All random numbers of a clip, drawn before the loop over time."""

from collections.abc import Mapping

import tensorflow as tf

from silot_tf.ops import seeds


def noise_of_clips(batch_size, frames: int, counts: Mapping[str, int], what_size: int, first_frame, seed) -> dict:
    """Noise for each part of the network, and uniform draws for discovery dropout.

    The number of a frame and the seed alone decide the noise of that frame, whatever clip it is cut into.

    Args:
      batch_size: B.
      frames: T.
      counts: part of the network -> number of objects N it works on.
      what_size: A.
      first_frame: number of the first frame, counted from the initial state.
      seed: `[2]` int32.

    Returns:
      part -> `where [B,T,N,4]`, `what [B,T,N,A]`, `depth [B,T,N,1]` (standard normal) and `pres [B,T,N,1]` (standard
      logistic); and `dropout [B,T]`, uniform in (0, 1).
    """
    normals = 4 + what_size + 1
    sizes = [n * normals for n in counts.values()] + list(counts.values()) + [1]
    # One draw per frame for everything: few random operations, and chunks of a clip see the noise of the whole.
    draws = [seeds.uniform([batch_size, sum(sizes)], seeds.fold(seed, first_frame + t)) for t in range(frames)]
    split = tf.split(tf.stack(draws, axis=1), sizes, axis=-1)
    noise = {"dropout": split[-1][..., 0]}
    for i, (part, objects) in enumerate(counts.items()):
        normal = tf.reshape(tf.math.ndtri(split[i]), [-1, frames, objects, normals])
        where, what, depth = tf.split(normal, [4, what_size, 1], axis=-1)
        pres = seeds.logistic(split[len(counts) + i])[..., None]
        noise[part] = {"where": where, "what": what, "depth": depth, "pres": pres}
    return noise
