"""Frames and labels in few bytes, without loss.

Frames of games have few colours and change little; labels are whole numbers mostly, with rows that hold nothing.
"""

import functools
import struct
import zlib

import numpy as np

from silot_tf.data import colour_codes
from silot_tf.errors import UserError

_HEAD = struct.Struct("<HB")


def encode_frames(frames: np.ndarray) -> bytes:
    """Successive frames, uint8 `[n,H,W,3]`, as compressed bytes.

    Inside of zlib: a count of colours (2 bytes), a lag (1 byte), the colours, and one byte per pixel: its colour's
    number, xor that of the same pixel `lag` frames earlier. With more than 256 colours the count is 0 and the bytes of
    the images stand in place of numbers. Lag 2 is for games that draw an object every second frame.
    """
    codes = colour_codes.codes_of(frames)
    colours = colour_codes.distinct(codes)
    if len(colours) <= 256:
        number_of = _table()
        number_of[colours] = np.arange(len(colours))
        numbers = number_of[codes]
        palette = colour_codes.colours_of(colours).tobytes()
    else:
        numbers, palette = frames, b""
    differences = {lag: np.concatenate([numbers[:lag], numbers[lag:] ^ numbers[:-lag]]) for lag in (1, 2)}
    lag = min(differences, key=lambda lag: np.count_nonzero(differences[lag]))
    head = _HEAD.pack(len(palette) // 3, lag)
    return zlib.compress(head + palette + differences[lag].tobytes(), 6)


@functools.cache
def _table() -> np.ndarray:
    """Room for a number below 256 per colour; only what is used takes memory."""
    return np.empty(1 << 24, np.uint8)


def decode_frames(chunk: bytes, frame_shape, part: slice = slice(None)) -> np.ndarray:
    """The frames given to `encode_frames`, or a part of them.

    Args:
      chunk: the compressed bytes.
      frame_shape: (H, W, 3).
      part: which of the frames.
    """
    data = zlib.decompress(chunk)
    count, lag = _HEAD.unpack_from(data)
    start = _HEAD.size + 3 * count
    shape = frame_shape[:2] if count else frame_shape
    numbers = np.frombuffer(data, np.uint8, offset=start).reshape(-1, *shape).copy()
    for phase in range(lag):
        np.bitwise_xor.accumulate(numbers[phase::lag], axis=0, out=numbers[phase::lag])
    if not count:
        return numbers[part]
    palette = np.frombuffer(data, np.uint8, count=3 * count, offset=_HEAD.size).reshape(count, 3)
    return palette[numbers[part]]


def pack_labels(labels: dict[str, np.ndarray], num_frames: int) -> tuple[dict[str, np.ndarray], dict]:
    """Labels in little space, without loss.

    Of each array only the rows of valid objects are kept, provided that all other rows are the same; columns are
    stored one after the other, whole numbers in the smallest integer type; zip compresses the rest.

    Args:
      labels: `valid` bool `[E,N]`, and arrays `[E,N,...]` of numbers.
      num_frames: E.

    Returns:
      Arrays to store, and a JSON-serialisable layout for `unpack_labels`.
    """
    if "valid" not in labels or any(
        np.shape(v)[:2] != (num_frames, *np.shape(labels["valid"])[1:]) for v in labels.values()
    ):
        shapes = {key: list(np.shape(value)) for key, value in labels.items()}
        raise UserError(
            f"labels of shapes {shapes} do not fit {num_frames} frames; expected [{num_frames}, N, ...] each"
        )
    valid = np.asarray(labels["valid"], bool)
    stored, layout = {"valid": np.packbits(valid)}, {"valid": {"shape": list(valid.shape)}}
    for key, value in labels.items():
        if key == "valid":
            continue
        rest = np.unique(value[~valid], axis=0) if not valid.all() else np.zeros((1, *value.shape[2:]), value.dtype)
        sparse = len(rest) == 1
        rows = (value[valid] if sparse else value.reshape(-1, *value.shape[2:])).astype(value.dtype)
        stored[key] = _smallest(np.moveaxis(rows, 0, -1))
        layout[key] = {
            "dtype": value.dtype.name,
            "shape": list(value.shape),
            "rest": rest[0].tolist() if sparse else None,
        }
    return stored, layout


def unpack_labels(stored: dict[str, np.ndarray], layout: dict) -> dict[str, np.ndarray]:
    """The labels given to `pack_labels`."""
    shape = layout["valid"]["shape"]
    valid = np.unpackbits(stored["valid"], count=shape[0] * shape[1]).astype(bool).reshape(shape)
    labels = {"valid": valid}
    for key, form in layout.items():
        if key == "valid":
            continue
        rows = np.moveaxis(stored[key], -1, 0).astype(form["dtype"])
        if form["rest"] is None:
            labels[key] = rows.reshape(form["shape"])
        else:
            labels[key] = np.full(form["shape"], np.asarray(form["rest"], form["dtype"]), form["dtype"])
            labels[key][valid] = rows
    return labels


def _smallest(values: np.ndarray) -> np.ndarray:
    """The same numbers in the smallest integer type that holds them all exactly; unchanged if there is none."""
    for dtype in (np.uint8, np.int16, np.int32):
        limits = np.iinfo(dtype)
        if values.size and values.min() >= limits.min and values.max() <= limits.max:
            smaller = values.astype(dtype)
            if np.array_equal(smaller, values):
                return smaller
    return values
