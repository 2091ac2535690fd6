"""The authors' network: its stored weights and results, and how its variables map to ours.

Source of the numbers: the original SILOT graph (state `aaai_2020` of its three repositories), run in float64.
"""

import functools
from pathlib import Path

import numpy as np
import tensorflow as tf

from silot_tf.models.silot import SILOT
from silot_tf.ops import seeds

FOLDER = Path(__file__).parents[2] / "golden" / "silot"

SCOPES = {
    "propagation/first_glimpse": "propagation/glimpse_prime_network",
    "propagation/first_encoder": "propagation/glimpse_prime_encoder",
    "propagation/second_encoder": "propagation/glimpse_encoder",
    "object_network": "propagation_feature_extractor/object_wise_func",
    "discovery/encoder": "discovery/object_encoder",
    "renderer/decoder": "renderer/object_decoder_for_flight_0",
}
for ours, theirs in (("propagation", "propagation"), ("prior", "prior_propagation")):
    SCOPES |= {
        f"{ours}/where": f"{theirs}/d_box_network",
        f"{ours}/what_from_glimpse": f"{theirs}/predict_attr_inp",
        f"{ours}/what_from_state": f"{theirs}/predict_attr_temp",
        f"{ours}/depth": f"{theirs}/d_z_network",
        f"{ours}/pres": f"{theirs}/d_obj_network",
    }
CONVOLUTIONS = {
    "backbone": "backbone",
    "fusion": "discovery_feature_fuser",
    "discovery/where": "discovery/box_network",
    "discovery/what": "discovery/attr_network",
    "discovery/depth": "discovery/z_network",
    "discovery/pres": "discovery/obj_network",
}
CELLS = {"propagation/cell": "prop_cell", "prior/cell": "prior_prop_cell"}
RELATION = "discovery_feature_extractor/relation_func"


# Our glimpses are (rows, channels, columns), theirs (rows, columns, channels): kernels that read them are reordered.
GLIMPSE_KERNELS = {
    f"{encoder}/dense_0/kernel"
    for encoder in ("propagation/first_encoder", "propagation/second_encoder", "discovery/encoder")
}


def to_our_pixel_order(kernel: np.ndarray) -> np.ndarray:
    return kernel.reshape(14, 14, 3, -1).swapaxes(1, 2).reshape(kernel.shape)


def to_original_pixel_order(kernel: np.ndarray) -> np.ndarray:
    return kernel.reshape(14, 3, 14, -1).swapaxes(1, 2).reshape(kernel.shape)


@functools.cache
def stored(name: str) -> dict:
    """All arrays of `<name>.npz`."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as arrays:
        return {key.removeprefix("network/representation/"): arrays[key] for key in arrays.files}


def dense_name(scope: str, i: int, kind: str) -> str:
    return f"{scope}/fully_connected{f'_{i}' if i else ''}/{'weights' if kind == 'kernel' else 'biases'}"


def original_pieces(path: str) -> list[tuple[str, slice | None, slice | None]]:
    """Original variables that one of ours is made of: (name, rows of the original, columns of ours)."""
    scope, _, kind = path.rpartition("/")
    if path == "silot/initial_hidden":
        return [("prop_cell_initial_state_0/w", None, None)]
    if scope in CELLS:
        letters = {"kernel": ("wz", "wr", "wh"), "gate_kernel": ("uz", "ur"), "new_kernel": ("uh",)}
        letters["bias"] = ("bz", "br", "bh")
        return [
            (f"{CELLS[scope]}/{letter}", None, slice(128 * i, 128 * (i + 1))) for i, letter in enumerate(letters[kind])
        ]
    if path.startswith("discovery_attention/"):
        part = path.removeprefix("discovery_attention/")
        rows = {"source_kernel": slice(0, 198), "displacement_kernel": slice(198, 200)}
        if part in rows:
            return [(dense_name(RELATION, 0, "kernel"), rows[part], None)]
        i = {"first_bias": 0, "second/kernel": 1, "second/bias": 1, "last_kernel": 2, "last_bias": 2}[part]
        return [(dense_name(RELATION, i, part.replace("_", "/").split("/")[-1]), None, None)]
    outer, _, layer = scope.rpartition("/")
    i = int(layer.split("_")[1])
    if outer in CONVOLUTIONS:
        return [(f"{CONVOLUTIONS[outer]}/fcn-conv{i}/{kind}", None, None)]
    return [(dense_name(SCOPES[outer], i, kind), None, None)]


def published_value(path: str, shape, source: dict) -> np.ndarray:
    """Value of our variable from original arrays (weights, or anything of the same shapes)."""
    value = np.zeros(shape, np.float32)
    if path in GLIMPSE_KERNELS:
        return to_our_pixel_order(source[original_pieces(path)[0][0]])
    for name, rows, columns in original_pieces(path):
        original = source[name] if rows is None else source[name][rows]
        target = value[..., columns] if columns is not None else value
        target[...] = original.reshape(target.shape)
    return value


@functools.cache
def published_network(**options) -> SILOT:
    """Our network with the authors' conventions and weights."""
    model = SILOT(align_corners=True, attend_empty_slots=True, **options)
    model.build_variables((48, 48, 3))
    weights = stored("weights")
    for variable in model.variables:
        variable.assign(published_value(variable.path, variable.shape, weights))
    return model


def stored_noise(run: dict) -> dict:
    """Injected noise in the form that `SILOT.unroll_stages` takes."""
    noise = {}
    for ours, theirs in (("propagation", "prop"), ("prior", "prior"), ("discovery", "disc")):
        noise[ours] = {name: tf.constant(run[f"noise/{theirs}/{name}"]) for name in ("where", "what", "depth")}
        noise[ours]["pres"] = seeds.logistic(tf.constant(run[f"noise/{theirs}/pres_u"]))
    noise["dropout"] = tf.constant(1.0 - run["noise/dropout_keep"].astype(np.float32))
    return noise


def stored_video(run: dict) -> tf.Tensor:
    return tf.constant(run["input/frames_u8"].astype(np.float32) / 255.0)
