"""Streams of batches from cached clips; the only place that knows the order of clips."""

import numpy as np

from silot_tf.data.records import ClipCache
from silot_tf.errors import UserError

READ_BUFFER = 1 << 18  # bytes; what TensorFlow takes by itself, but then it says so on every start


def training_stream(
    cache: ClipCache,
    batch_size: int,
    *,
    seed: int,
    start_batch: int = 0,
    shuffle_buffer: int,
    max_objects: int,
):
    """Endless `tf.data.Dataset` of batches (see `silot_tf.contracts`), deterministic in `seed`.

    In every epoch the order of the shards and the clips inside a sliding buffer are shuffled anew, by a seed
    made of `seed` and the epoch's number; the `num_clips % batch_size` clips left over at its end are not
    used.

    Args:
      cache: clips.
      batch_size: clips per batch, at most the number of clips.
      seed: any int.
      start_batch: number of the first batch to yield; what follows equals an uninterrupted stream from there
        on. Costs at most reading (not unpacking) the clips of one epoch.
      shuffle_buffer: clips.
      max_objects: N of the batches.

    Raises:
      UserError: if the batch is larger than the number of clips, or a number is out of range.
    """
    import tensorflow as tf

    check_batch_size(batch_size)
    if start_batch < 0:
        raise UserError(f"start_batch must be 0 or more, found {start_batch}")
    per_epoch = cache.num_clips // batch_size
    if per_epoch == 0:
        raise UserError(
            f"a batch of {batch_size} clips cannot be made of {cache.num_clips} training clips; "
            "ask for more clips or a smaller batch"
        )
    start_epoch, skipped = divmod(start_batch, per_epoch)

    def records_of(epoch):
        # The seed of `shuffle` is mixed with the global seed of the surrounding graph. This function is
        # traced into a graph of its own, whose seed is fixed here so that tf.random.set_seed elsewhere cannot
        # change the order.
        tf.compat.v1.set_random_seed(1)
        epoch_seed = tf.random.experimental.stateless_fold_in(tf.constant([seed % 2**62, 0], tf.int64), epoch)
        files = tf.random.experimental.stateless_shuffle(tf.constant(cache.files), seed=epoch_seed)
        records = tf.data.TFRecordDataset(files, buffer_size=READ_BUFFER)
        records = records.shuffle(shuffle_buffer, seed=epoch_seed[0], reshuffle_each_iteration=False)
        records = records.batch(batch_size, drop_remainder=True)
        return records.skip(tf.where(epoch == start_epoch, tf.constant(skipped, tf.int64), 0))

    epochs = tf.data.Dataset.range(start_epoch, np.iinfo(np.int64).max)
    batches = epochs.flat_map(records_of).map(lambda records: decode(records, cache, max_objects))
    return batches.prefetch(2)


def evaluation_stream(cache: ClipCache, batch_size: int, *, max_objects: int):
    """Finite `tf.data.Dataset` of all clips in order; the last batch may be smaller."""
    import tensorflow as tf

    check_batch_size(batch_size)
    records = tf.data.TFRecordDataset(list(cache.files), buffer_size=READ_BUFFER).batch(batch_size)
    return records.map(lambda records: decode(records, cache, max_objects)).prefetch(2)


def check_batch_size(batch_size: int) -> None:
    """Raise UserError unless there is at least one clip in a batch."""
    if batch_size < 1:
        raise UserError(f"batch_size must be at least 1 clip, found {batch_size}")


def decode(records, cache: ClipCache, max_objects: int) -> dict:
    """Batch (see `silot_tf.contracts`) from serialised records `[B]` string.

    Needs the fields `video` (uint8), `boxes` (float32) and `valid` (bool). Grey clips become three equal
    channels; annotation rows are padded to `max_objects`; the id of an object is its row.
    """
    import tensorflow as tf

    features = {name: tf.io.FixedLenFeature([], tf.string) for name in cache.fields}
    parsed = tf.io.parse_example(records, features)
    arrays = {}
    for name, (dtype, shape) in cache.fields.items():
        content = tf.io.decode_compressed(parsed[name], compression_type="ZLIB")
        # One byte per bool on disk, which decode_raw reads as uint8.
        flat = tf.io.decode_raw(content, tf.uint8 if dtype == "bool" else tf.as_dtype(dtype))
        arrays[name] = tf.ensure_shape(tf.reshape(flat, [-1, *shape]), [records.shape[0], *shape])
    video = arrays["video"]
    video = tf.cast(video, tf.float32) / 255.0
    if video.shape[-1] == 1:
        video = tf.repeat(video, 3, axis=-1)
    padding = [[0, 0], [0, 0], [0, max_objects - arrays["valid"].shape[2]]]
    present = tf.pad(tf.cast(arrays["valid"], tf.bool), padding)
    size, frames = tf.shape(video)[0], video.shape[1]
    return {
        "video": video,
        "frame_mask": tf.ones([size, frames], tf.bool),
        "boxes": tf.pad(arrays["boxes"], [*padding, [0, 0]]),
        "present": present,
        "track_id": tf.where(present, tf.range(max_objects), -1),
        "crop_offset": tf.zeros([size, 2], tf.int32),
    }
