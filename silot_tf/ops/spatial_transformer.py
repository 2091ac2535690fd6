"""Reading glimpses from frames and pasting sprites into frames, as products with tent-shaped weight matrices.

Bilinear interpolation at position `q` weighs sample `p` by `max(0, 1 - |q - p|)`. Because positions along rows and
columns are independent, reading or pasting a whole patch is `rows_matrix @ image @ columns_matrix^T`: two matrix
products in place of four gathers, and the gradient with respect to positions comes from the same products. Samples
outside the image weigh nothing, so everything outside counts as 0.

The gather forms (`crop_by_gather`, `paste_by_gather`) compute the same values the obvious way; tests and the benchmark
compare against them.

Positions are in sample units: 0 is the centre of the first sample. `where` is (y, x, height, width), centre and size
in fractions of the frame.
"""

import numpy as np
import tensorflow as tf

SMALLEST_SIZE = 1e-6  # keeps 1 / size finite for empty slots, whose boxes have size 0


def glimpse_positions(centre, size, samples: int, frame_size: int, align_corners: bool) -> tf.Tensor:
    """Frame positions `[..., samples]` of the samples of a glimpse along one axis, in frame sample units.

    Args:
      centre: `[...]` box centre along this axis, fraction of the frame.
      size: `[...]` box size along this axis, fraction of the frame.
      samples: number of glimpse samples.
      frame_size: number of frame pixels along this axis.
      align_corners: False puts samples at the centres of `samples` equal parts of the box (consistent with `paste`);
        True is the convention of the authors' code (displaced by up to half a pixel).

    Source: SILOT specification 2.5.
    """
    centre = tf.convert_to_tensor(centre)
    if align_corners:
        grid = tf.constant(np.linspace(-1.0, 1.0, samples), centre.dtype)
        return (frame_size - 1) / 2 * (size[..., None] * grid + 2 * centre[..., None])
    grid = tf.constant((np.arange(samples) + 0.5) / samples - 0.5, centre.dtype)
    return frame_size * (centre[..., None] + size[..., None] * grid) - 0.5


def pixel_centres(pixels: int, frame_size: int) -> np.ndarray:
    """Centres of the first `pixels` pixels along one axis, fractions of a frame of `frame_size` pixels."""
    return (np.arange(pixels) + 0.5) / frame_size


def sprite_positions(centre, size, samples: int, pixels) -> tf.Tensor:
    """Sprite positions `[..., P]` of frame pixels along one axis, in sprite sample units.

    Inverse of `glimpse_positions(..., align_corners=False)`.

    Args:
      centre, size, samples: see there, of the sprite.
      pixels: `[P]` or `[..., P]` centres of pixels, fractions of the frame (see `pixel_centres`).

    Source: SILOT specification 2.12.
    """
    centre = tf.convert_to_tensor(centre)
    pixels = tf.convert_to_tensor(pixels, centre.dtype)
    start = (centre - size / 2)[..., None]
    return samples * (pixels - start) / tf.maximum(size, SMALLEST_SIZE)[..., None] - 0.5


def tent_weights(positions, samples: int, samples_first: bool = False) -> tf.Tensor:
    """Bilinear weights `[..., P, samples]` of `samples` samples at positions `[..., P]`.

    With `samples_first` they come as `[..., samples, P]`: element-wise work is faster when the last axis is the longer.
    """
    index = tf.range(samples, dtype=positions.dtype)
    index = index[:, None] if samples_first else index
    samples_axis = -2 if samples_first else -1

    @tf.custom_gradient
    def compute(positions):
        offset = index - tf.expand_dims(positions, samples_axis)
        weights = tf.nn.relu(1.0 - tf.abs(offset))

        def gradient(upstream):
            # Weights rise towards the sample and fall beyond it, and are flat where they are 0.
            slope = tf.sign(weights * offset)  # a third faster than where()
            return tf.reduce_sum(upstream * slope, axis=samples_axis)

        return weights, gradient

    return compute(positions)


def rows_channels_columns(frames) -> tf.Tensor:
    """Frames `[...,H,W,C]` in the layout `[...,H,C,W]` that `crop` reads: then both products are on whole rows.

    Copies channel by channel, several times faster than a general transposition when there are few channels.
    """
    return tf.stack(tf.unstack(frames, axis=-1), axis=-2)


def crop(frame, where, glimpse_shape, align_corners: bool = False) -> tf.Tensor:
    """Glimpses `[B,K,rows,C,columns]` (channels before columns) read from `frame` at `where`; 0 outside the frame.

    Args:
      frame: `[B,H,C,W]` float, any range (see `rows_channels_columns`).
      where: `[B,K,4]` boxes (y, x, height, width), fractions of the frame.
      glimpse_shape: (rows, columns) in samples.
      align_corners: see `glimpse_positions`.

    Source: SILOT, section 3.3 (the transformer); specification 2.5.
    """
    height, channels, width = frame.shape[1:]
    rows, columns = glimpse_shape
    slots = where.shape[1]
    y, x, h, w = tf.unstack(where, axis=-1)
    row_weights = tent_weights(glimpse_positions(y, h, rows, height, align_corners), height)
    column_weights = tent_weights(glimpse_positions(x, w, columns, width, align_corners), width)
    # Rows of all slots at once against [H, C * W]; then columns per slot.
    read = tf.matmul(
        tf.reshape(row_weights, [-1, slots * rows, height]), tf.reshape(frame, [-1, height, channels * width])
    )
    read = tf.reshape(read, [-1, rows * channels, width])
    glimpses = tf.matmul(read, tf.reshape(column_weights, [-1, columns, width]), transpose_b=True)
    return tf.reshape(glimpses, [-1, slots, rows, channels, columns])


def paste_weights(centre, size, samples: int, pixels) -> tf.Tensor:
    """Bilinear weights `[..., samples, P]` of a sprite's samples at frame pixels; arguments of `sprite_positions`."""
    return tent_weights(sprite_positions(centre, size, samples, pixels), samples, samples_first=True)


def paste_with(row_weights, column_weights, sprites) -> tf.Tensor:
    """Sprites `[N,rows,C,columns]` resampled by weights `[N,rows,P]` and `[N,columns,Q]`: `[N,P,C,Q]`."""
    _, rows, channels, columns = sprites.shape
    pixel_rows, pixel_columns = row_weights.shape[2], column_weights.shape[2]
    pasted = tf.matmul(row_weights, tf.reshape(sprites, [-1, rows, channels * columns]), transpose_a=True)
    pasted = tf.matmul(tf.reshape(pasted, [-1, pixel_rows * channels, columns]), column_weights)
    return tf.reshape(pasted, [-1, pixel_rows, channels, pixel_columns])


class Paste:
    """Resampling of sprites into a frame at fixed boxes, `[N,rows,C,columns] -> [N,H,C,W]`; 0 outside the boxes.

    The weight matrices are made once and serve several maps of the same sprites.

    Source: SILOT specification 2.12 (bilinear with outside value 0).
    """

    def __init__(self, where, frame_shape):
        """Args: `where`: `[N,4]` boxes (y, x, height, width), fractions of the frame; `frame_shape`: (H, W)."""
        self.where, self.frame_shape, self._weights = where, tuple(frame_shape), {}

    def __call__(self, sprites) -> tf.Tensor:
        """Pasted maps of sprites `[N,rows,C,columns]`."""
        return paste_with(*self._weight_matrices(sprites.shape[1], sprites.shape[3]), sprites)

    def _weight_matrices(self, rows, columns):
        """Tent weights `[N,rows,H]` and `[N,columns,W]`."""
        if (rows, columns) not in self._weights:
            height, width = self.frame_shape
            y, x, h, w = tf.unstack(self.where, axis=-1)
            self._weights[rows, columns] = (
                paste_weights(y, h, rows, pixel_centres(height, height)),
                paste_weights(x, w, columns, pixel_centres(width, width)),
            )
        return self._weights[rows, columns]


def coverage(where, sprite_shape, frame_shape) -> tf.Tensor:
    """What `paste` makes of a sprite of ones, `[N,H,W]`: 1 inside the box, fading to 0 within half a sprite pixel."""
    (rows, columns), (height, width) = sprite_shape, frame_shape
    y, x, h, w = tf.unstack(where, axis=-1)
    row_weights = tent_weights(sprite_positions(y, h, rows, pixel_centres(height, height)), rows)
    column_weights = tent_weights(sprite_positions(x, w, columns, pixel_centres(width, width)), columns)
    return tf.reduce_sum(row_weights, -1)[:, :, None] * tf.reduce_sum(column_weights, -1)[:, None, :]


def crop_by_gather(frame, where, glimpse_shape, align_corners: bool = False) -> tf.Tensor:
    """Same as `crop`, with four gathers per sample."""
    height, _, width = frame.shape[1:]
    rows, columns = glimpse_shape
    y, x, h, w = tf.unstack(where, axis=-1)
    row = glimpse_positions(y, h, rows, height, align_corners)[..., :, None]
    column = glimpse_positions(x, w, columns, width, align_corners)[..., None, :]
    glimpses = _bilinear_gather(tf.linalg.matrix_transpose(frame), *_pairs(row, column))
    return tf.linalg.matrix_transpose(glimpses)


def paste_by_gather(sprites, where, frame_shape) -> tf.Tensor:
    """Same as `Paste(where, frame_shape)(sprites)`, with four gathers per frame pixel."""
    height, width = frame_shape
    _, rows, _, columns = sprites.shape
    y, x, h, w = tf.unstack(where, axis=-1)
    row = sprite_positions(y, h, rows, pixel_centres(height, height))[:, :, None]
    column = sprite_positions(x, w, columns, pixel_centres(width, width))[:, None, :]
    pasted = _bilinear_gather(tf.linalg.matrix_transpose(sprites), *_pairs(row, column))
    return tf.linalg.matrix_transpose(pasted)


def _pairs(row, column):
    """Every row position with every column position."""
    shape = tf.concat([tf.shape(row)[:-1], tf.shape(column)[-1:]], 0)
    return tf.broadcast_to(row, shape), tf.broadcast_to(column, shape)


def _bilinear_gather(image, row, column) -> tf.Tensor:
    """Image `[N,H,W,C]` at positions `[N,...]`: sum over the four neighbours, those outside counting 0."""
    height, width = image.shape[1:3]
    top, left = tf.floor(row), tf.floor(column)
    result = tf.zeros([])
    for r, row_weight in ((top, 1.0 - (row - top)), (top + 1.0, row - top)):
        for c, column_weight in ((left, 1.0 - (column - left)), (left + 1.0, column - left)):
            inside = (r >= 0) & (r <= height - 1) & (c >= 0) & (c <= width - 1)
            index = tf.stack(
                [
                    tf.cast(tf.clip_by_value(r, 0.0, height - 1.0), tf.int32),
                    tf.cast(tf.clip_by_value(c, 0.0, width - 1.0), tf.int32),
                ],
                axis=-1,
            )
            weight = tf.where(inside, row_weight * column_weight, 0.0)
            result += weight[..., None] * tf.gather_nd(image, index, batch_dims=1)
    return result
