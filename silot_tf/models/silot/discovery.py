"""Discovery: one proposed object per grid cell, given what the frame shows and which objects are already known.

Source: SILOT, section 3.2; specification 2.7.
"""

import gin
import keras
import numpy as np
import tensorflow as tf

from silot_tf.layers.convolution import cell_indices
from silot_tf.layers.mlp import MLP
from silot_tf.models.silot.objects import clip_logit, hold_back, squash, std_from_logit
from silot_tf.ops import distributions

CENTRE_RANGE = (-0.5, 1.5)  # an object may lie up to half a cell outside its cell
PASSTHROUGH = 64  # channels that each head hands to the next


@gin.register(module="silot")
class Discovery(keras.layers.Layer):
    """Heads for location, appearance, depth and presence, from a fused feature grid."""

    def __init__(
        self,
        crop,
        cell_in_anchors,
        encoder_hidden=(256, 128),
        feature_size: int = 64,
        what_size: int = 64,
        name=None,
    ):
        """Args: `crop(frame, box)` reads glimpses; `cell_in_anchors`: (height, width) of a cell in anchor units."""
        super().__init__(name=name)
        self.crop, self.cell_in_anchors, self.what_size = (
            crop,
            np.asarray(cell_in_anchors, np.float32),
            what_size,
        )
        self.encoder = MLP(encoder_hidden, feature_size, name="encoder")
        base, local = feature_size + 2, 4
        # Each head is one hidden layer as wide as its input (D2).
        self.where_head = MLP((base,), 8 + PASSTHROUGH, name="where")
        what_inputs = base + PASSTHROUGH + feature_size + local
        self.what_head = MLP((what_inputs,), 2 * what_size + PASSTHROUGH, name="what")
        depth_inputs = base + PASSTHROUGH + local + what_size
        self.depth_head = MLP((depth_inputs,), 2 + PASSTHROUGH, name="depth")
        self.pres_head = MLP((depth_inputs + 1,), 1, name="pres")

    def call(self, grid, frame, crop_offset, noise, wheels=None):
        """Proposed objects and the statistics that the losses need.

        Args:
          grid: `[B,rows,columns,64]` fused features.
          frame: one frame of each clip, see `ops/glimpses.readable`.
          crop_offset: `[B,2]` offset of the frame inside the uncropped one, anchor units.
          noise: dictionary as for propagation with D = rows * columns in place of K; None for no noise.
          wheels: training wheels (see `hold_back`).

        Returns:
          record fields `[B,D,.]` (presence before any mask) and, under `stage`, intermediate results.
        """
        rows, columns, features = grid.shape[1:]
        cells = rows * columns
        quiet = noise is None
        if not quiet:
            noise = {name: tf.reshape(value, [-1, value.shape[-1]]) for name, value in noise.items()}
        features = tf.reshape(grid, [-1, features])
        objects = tf.shape(features)[0]
        base = tf.concat([features, tf.broadcast_to(tf.constant([[1.0, 0.0]]), [objects, 2])], -1)

        # Where: centre relative to the cell, size relative to the anchor box.
        where_parameters, passed = tf.split(self.where_head(base), [8, PASSTHROUGH], axis=-1)
        where_mean, where_logit = tf.split(where_parameters, 2, axis=-1)
        where_mean, where_std = hold_back(where_mean, wheels), hold_back(std_from_logit(where_logit), wheels)
        where = distributions.sample_normal(where_mean, where_std, None if quiet else noise["where"])
        in_cell, size = tf.split(squash(where), 2, axis=-1)
        size_logit = tf.split(where, 2, axis=-1)[1]
        low, high = CENTRE_RANGE
        in_cell = low + (high - low) * in_cell
        local = tf.concat([in_cell, size], -1)
        centre = (tf.reshape(in_cell, [-1, cells, 2]) + cell_indices(rows, columns)) * self.cell_in_anchors
        box = tf.concat([centre, tf.reshape(size, [-1, cells, 2])], -1)

        # What.
        glimpse = self.crop(frame, box)
        code = self.encoder(tf.reshape(glimpse, [-1, *glimpse.shape[2:]]))
        what_parameters = self.what_head(tf.concat([base, passed, code, local], -1))
        what_mean, what_logit, passed = tf.split(
            what_parameters, [self.what_size, self.what_size, PASSTHROUGH], axis=-1
        )
        what_std = std_from_logit(what_logit)
        what = distributions.sample_normal(what_mean, what_std, None if quiet else noise["what"])

        # Depth; the glimpse reaches this and the next head only through the passed channels (D4).
        depth_parameters = self.depth_head(tf.concat([base, passed, local, what], -1))
        depth_mean, depth_std_logit, passed = tf.split(depth_parameters, [1, 1, PASSTHROUGH], axis=-1)
        depth_mean, depth_std = (
            hold_back(depth_mean, wheels),
            hold_back(std_from_logit(depth_std_logit), wheels),
        )
        depth_logit = distributions.sample_normal(depth_mean, depth_std, None if quiet else noise["depth"])
        depth = squash(depth_logit)

        # Presence.
        log_odds = self.pres_head(tf.concat([base, passed, local, what, depth], -1))
        log_odds = clip_logit(hold_back(log_odds, wheels))
        pre_sigmoid = distributions.sample_logistic(log_odds, None if quiet else noise["pres"])

        unflatten = lambda value: tf.reshape(value, [-1, cells, value.shape[-1]])  # noqa: E731
        new = {
            "box": box,
            "position": centre + crop_offset[:, None],
            "size_logit": unflatten(size_logit),
            "what": unflatten(what),
            "depth_logit": unflatten(depth_logit),
            "depth": unflatten(depth),
            "pres": unflatten(tf.sigmoid(pre_sigmoid)),
        }
        stage = {
            "where_mean": where_mean,
            "where_std": where_std,
            "local": local,
            "what_mean": what_mean,
            "what_std": what_std,
            "depth_mean": depth_mean,
            "depth_std": depth_std,
            "log_odds": log_odds,
            "pre_sigmoid": pre_sigmoid,
        }
        return new, {name: unflatten(value) for name, value in stage.items()} | {"glimpse": glimpse}
