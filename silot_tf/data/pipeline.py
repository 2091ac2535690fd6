"""Streams of batches from cached clips; the only place that knows the order of clips."""

import numpy as np

from silot_tf.data.crops import Crops
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
    crops: Crops | None = None,
    channels: int = 3,
):
    """Endless `tf.data.Dataset` of batches (see `silot_tf.contracts`), deterministic in `seed`.

    In every epoch the order of the shards and the clips inside a sliding buffer are shuffled anew, by a seed
    made of `seed` and the epoch's number; the `num_clips % batch_size` clips left over at its end are not
    used. Crops are shuffled like clips of their own: "clips" below means crops where there are any.

    Args:
      cache: clips.
      batch_size: clips per batch, at most the number of clips.
      seed: any int.
      start_batch: number of the first batch to yield; what follows equals an uninterrupted stream from there
        on. Costs at most reading (not unpacking) the clips of one epoch.
      shuffle_buffer: clips.
      max_objects: N of the batches.
      crops: None for whole frames.
      channels: of the batches; see `decode`.

    Raises:
      UserError: if the batch is larger than the number of clips, or a number is out of range.
    """
    import tensorflow as tf

    _check(cache, batch_size, crops)
    if start_batch < 0:
        raise UserError(f"start_batch must be 0 or more, found {start_batch}")
    num_items = cache.num_clips * (1 if crops is None else crops.per_clip)
    per_epoch = num_items // batch_size
    if per_epoch == 0:
        raise UserError(
            f"a batch of {batch_size} clips cannot be made of {num_items} training clips; "
            "ask for more clips or a smaller batch"
        )
    start_epoch, skipped = divmod(start_batch, per_epoch)

    def items_of(epoch):
        # The seed of `shuffle` is mixed with the global seed of the surrounding graph. This function is
        # traced into a graph of its own, whose seed is fixed here so that tf.random.set_seed elsewhere cannot
        # change the order.
        tf.compat.v1.set_random_seed(1)
        epoch_seed = tf.random.experimental.stateless_fold_in(tf.constant([seed % 2**62, 0], tf.int64), epoch)
        # The epoch is only in the second half of that seed, and `shuffle` takes one number.
        order = tf.random.stateless_uniform([], epoch_seed, None, None, tf.int64, alg="philox")
        shards = tf.random.experimental.stateless_shuffle(tf.range(len(cache.files)), seed=epoch_seed)
        items = _items(cache, shards, crops)
        items = items.shuffle(shuffle_buffer, seed=order, reshuffle_each_iteration=False)
        items = items.skip(tf.where(epoch == start_epoch, tf.constant(skipped * batch_size, tf.int64), 0))
        return _batches(items, batch_size, cache, crops, drop_remainder=True)

    epochs = tf.data.Dataset.range(start_epoch, np.iinfo(np.int64).max)
    batches = epochs.flat_map(items_of)
    return batches.map(lambda *items: decode(*items, cache, max_objects, crops, channels)).prefetch(2)


def evaluation_stream(
    cache: ClipCache, batch_size: int, *, max_objects: int, crops: Crops | None = None, channels: int = 3
):
    """Finite `tf.data.Dataset` of all clips in order, or all crops of each; the last batch may be smaller."""
    _check(cache, batch_size, crops)
    batches = _batches(_items(cache, range(len(cache.files)), crops), batch_size, cache, crops)
    return batches.map(lambda *items: decode(*items, cache, max_objects, crops, channels)).prefetch(2)


def _items(cache: ClipCache, shards, crops: Crops | None):
    """Dataset of (serialised record, shard, row in the shard, crop number) of the clips in these shards, in order.

    The numbers are 0 without crops. With them, shard and row name the clip whatever the order of reading.
    """
    import tensorflow as tf

    files = tf.gather(tf.constant(cache.files), shards)
    if crops is None:
        zero = tf.constant(0, tf.int64)
        return tf.data.TFRecordDataset(files, buffer_size=READ_BUFFER).map(lambda record: (record, zero, zero, zero))

    def crops_of(shard, row, record):
        once = [tf.fill([crops.per_clip], value) for value in (record, shard, row)]
        return *once, tf.range(crops.per_clip, dtype=tf.int64)

    def clips_of(shard, file):
        records = tf.data.TFRecordDataset(file, buffer_size=READ_BUFFER).enumerate()
        return records.map(lambda row, record: crops_of(shard, row, record)).unbatch()

    return tf.data.Dataset.from_tensor_slices((tf.cast(shards, tf.int64), files)).flat_map(clips_of)


def _batches(items, batch_size: int, cache: ClipCache, crops: Crops | None, drop_remainder: bool = False):
    """Dataset of (serialised records `[B]`, crop offsets `[B,2]` int32) of what `_items` gives."""
    import tensorflow as tf

    def locate(record, shard, row, number):
        if crops is None:
            return record, tf.zeros([2], tf.int32)
        return record, crops.offset((shard, row), number, _frame_size(cache))

    return items.map(locate).batch(batch_size, drop_remainder=drop_remainder)


def _check(cache: ClipCache, batch_size: int, crops: Crops | None) -> None:
    if batch_size < 1:
        raise UserError(f"batch_size must be at least 1 clip, found {batch_size}")
    if crops is not None:
        crops.room(_frame_size(cache))  # complains here, and not somewhere inside of TensorFlow


def _frame_size(cache: ClipCache) -> tuple[int, int]:
    """(rows, columns) of stored frames."""
    return cache.fields["video"][1][1:3]


def decode(records, offsets, cache: ClipCache, max_objects: int, crops: Crops | None = None, channels: int = 3) -> dict:
    """Batch (see `silot_tf.contracts`) from serialised records `[B]` string and crop offsets `[B,2]` int32.

    Needs the fields `video` (uint8), `boxes` (float32) and `valid` (bool); N may be 0. Grey clips become `channels`
    equal channels; annotation rows are padded to `max_objects`. The id of an object is its row, unless the field
    `track_id` (`[T,N]` int32) says otherwise. A field `label` (`[N]` or `[T,N]` int32) becomes one value per frame.
    Without `crops` the offsets count nothing.
    """
    import tensorflow as tf

    features = {name: tf.io.FixedLenFeature([], tf.string) for name in cache.fields}
    parsed = tf.io.parse_example(records, features)
    arrays, size = {}, tf.shape(records)[0]
    for name, (dtype, shape) in cache.fields.items():
        content = tf.io.decode_compressed(parsed[name], compression_type="ZLIB")
        # One byte per bool on disk, which decode_raw reads as uint8.
        flat = tf.io.decode_raw(content, tf.uint8 if dtype == "bool" else tf.as_dtype(dtype))
        arrays[name] = tf.ensure_shape(tf.reshape(flat, [size, *shape]), [records.shape[0], *shape])
    video, boxes, present = arrays["video"], arrays["boxes"], tf.cast(arrays["valid"], tf.bool)
    if crops is not None:
        video = crops.cut_video(video, offsets)  # still bytes, a quarter of what floats would be
        boxes, present = crops.cut_boxes(boxes, present, offsets, _frame_size(cache))
    video = tf.cast(video, tf.float32) / 255.0
    if video.shape[-1] == 1 < channels:
        video = tf.repeat(video, channels, axis=-1)
    padding = [[0, 0], [0, 0], [0, max_objects - present.shape[2]]]
    present = tf.pad(present, padding)
    track_id = tf.pad(arrays["track_id"], padding) if "track_id" in arrays else tf.range(max_objects)
    more = {}
    if "label" in arrays:
        label = arrays["label"]
        label = tf.repeat(label[:, None], video.shape[1], axis=1) if len(label.shape) == 2 else label
        more["label"] = tf.pad(label, padding, constant_values=-1)
    return more | {
        "video": video,
        "frame_mask": tf.ones([size, video.shape[1]], tf.bool),
        "boxes": tf.pad(boxes, [*padding, [0, 0]]),
        "present": present,
        "track_id": tf.where(present, track_id, -1),
        "crop_offset": offsets,
    }
