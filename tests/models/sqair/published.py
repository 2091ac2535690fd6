"""The released network: its stored weights, inputs and results, and how its variables map to ours.

Source of the numbers: the released MLP-SQAIR network run in float64, with its initial weights moved at random.
"""

import functools
from pathlib import Path

import numpy as np
import tensorflow as tf

from silot_tf.models.sqair import SQAIR

FOLDER = Path(__file__).parents[2] / "golden" / "sqair"
FRAMES, VIDEOS, PARTICLES, SLOTS, UNITS, WHAT = 3, 2, 2, 3, 256, 50
# Triangular matrices from 10 numbers c: rows (c4), (c8, c9), (c7, c6, c5), (c3, c2, c1, c0); ours by rows.
COVARIANCE = [4, 8, 9, 7, 6, 5, 3, 2, 1, 0]


@functools.cache
def stored(name: str) -> dict:
    """All arrays of `<name>.npz`."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as arrays:
        return {key: arrays[key] for key in arrays.files}


def pieces(model) -> list[tuple]:
    """(our variable, released name, rows of the released array or None for all) of every variable."""
    found = []

    def add(variable, name, rows=None):
        found.append((variable, name, rows))

    def add_linear(layer, name):
        add(layer.kernel, f"{name}/w")
        add(layer.bias, f"{name}/b")

    def add_mlp(layer, name):
        layers = [*layer.hidden, *([layer.out] if layer.out is not None else [])]
        for i, one in enumerate(layers):
            add_linear(one, f"{name}/mlp/linear{f'_{i}' if i else ''}")

    def add_blocks(layer, name, rows):
        for kernel, part in zip(layer.kernels, rows, strict=True):
            add(kernel, f"{name}/w", part)
        add(layer.bias, f"{name}/b")

    def add_rnn(layer, name, rows, initial):
        add_blocks(layer.inputs, f"{name}/in_to_hidden", rows)
        add_linear(layer.recurrent, f"{name}/hidden_to_hidden")
        add(layer.initial, initial)

    def add_gru(cell, name):
        for variable, letters in (
            (cell.kernel, ("wz", "wr", "wh")),
            (cell.gate_kernel, ("uz", "ur")),
            (cell.new_kernel, ("uh",)),
            (cell.bias, ("bz", "br", "bh")),
        ):
            add(variable, tuple(f"{name}/{letter}" for letter in letters))

    core, discover = "discovery/discovery_core", "discovery/discover"
    propagation = "propagation/propagation_core"
    add_mlp(model.frame_encoder.network, f"{core}/encoder")
    add_mlp(model.glimpse_encoder.network, f"{core}/encoder_1")
    add_linear(model.glimpse_encoder.head, f"{core}/air_encoder/gaussian_from_param_vec/linear")
    add_mlp(model.glimpse_encoder.mask_network, f"{core}/air_encoder")
    ours = model.discovery
    initial = f"{discover}/discovery/vanilla_rnn_initial_state_0/w"
    add_rnn(ours.recurrent, "discovery/vanilla_rnn", [range(256), range(512, 567), range(256, 512)], initial)
    add_mlp(ours.where_head, f"{core}/stochastic_transform_param")
    add(ours.scale_offset, f"{core}/stochastic_transform_param/scale_offset")
    add_blocks(ours.presence_hidden, f"{core}/steps_predictor/mlp/linear", [None])
    add_linear(ours.presence_out, f"{core}/steps_predictor/mlp/linear_1")
    ours = model.where_prior
    where = f"{discover}/recurrent_normal_impl"
    add(ours.initial, f"{where}/{where}/vanilla_rnn_initial_state_0/w")
    add(ours.first_where, f"{where}/init_sample")
    add_linear(ours.scene_layer, f"{where}/linear_1")
    add_linear(ours.input_layer, f"{where}/vanilla_rnn/in_to_hidden")
    add_linear(ours.context_layer, f"{where}/vanilla_rnn/hidden_to_hidden")
    add_linear(ours.head, f"{where}/linear")
    add_mlp(model.count_prior.network, discover)
    step = "model/sequential_air/while/sqair_timestep/discover"
    add(model.count_prior.bias, f"{step}/step_prior_bias")
    add(model.count_prior.later_bias, f"{step}/step_prior_timestep_bias")
    ours = model.propagation
    known = [*range(50), *range(105, 416)]  # glimpse code; the slot's own latents and state
    initial = "propagation/sequential_ssm/propagation/vanilla_rnn_initial_state_0/w"
    add_rnn(ours.relation, "propagation/vanilla_rnn", [known, range(50, 105)], initial)
    add_mlp(ours.proposal, f"{propagation}/rnn_inpt")
    head = f"{propagation}/stochastic_transform_param"
    add_blocks(ours.where_hidden, f"{head}/mlp/linear", [range(256, 516), range(256)])
    add_linear(ours.where_head.hidden[0], f"{head}/mlp/linear_1")
    add_linear(ours.where_head.out, f"{head}/mlp/linear_2")
    add(ours.scale_offset, f"{head}/scale_offset")
    add(ours.covariance, f"{propagation}/affine_diag_normal/cholesky_scale", COVARIANCE)
    add_gru(ours.temporal, "propagation/gru")
    add_linear(ours.what_head, f"{propagation}/what/gaussian_from_param_vec/linear")
    add_linear(ours.gates, f"{propagation}/what/linear")
    blocks = [range(256, 512), [*range(256), *range(512, 562)]]
    add_blocks(ours.presence_hidden, f"{propagation}/steps_predictor/mlp/linear", blocks)
    add_linear(ours.presence_out, f"{propagation}/steps_predictor/mlp/linear_1")
    add_gru(model.propagation_prior.cell, "propagation/gru_1")
    add_linear(model.propagation_prior.head, "propagation/propagate_prior/linear")
    add(model.initial_temporal, "sequence/sequential_air/propagation/gru_initial_state_0/w")
    add(model.initial_prior, "sequence/sequential_air/propagation/gru_1_initial_state_0/w")
    add_mlp(model.latent_encoder, "sequence/sequential_air/sqair_timestep")
    add_mlp(model.decoder.network, "decoder/air_decoder/decoder")
    add(model.decoder.output_scale, "decoder/air_decoder/decoder/output_scale")
    add(model.decoder.mean_image, "decoder/air_decoder/Variable")
    return found


def value_of(name, rows, source: dict) -> np.ndarray:
    """The value of one of our variables from released arrays."""
    if isinstance(name, tuple):
        return np.concatenate([source[one] for one in name], axis=-1)
    return source[name] if rows is None else source[name][np.asarray(rows)]


def gradients_by_name(model, gradients) -> dict:
    """Released name -> gradient, put together from those of our variables (in the order of `pieces`)."""
    weights, result = stored("weights"), {}
    for (_, name, rows), gradient in zip(pieces(model), gradients, strict=True):
        names = name if isinstance(name, tuple) else (name,)
        parts = np.split(gradient, len(names), axis=-1) if len(names) > 1 else [gradient]
        for one, part in zip(names, parts, strict=True):
            whole = result.setdefault(one, np.full(weights[one].shape, np.nan))
            whole[... if rows is None else np.asarray(rows)] = part
    assert set(result) == set(weights) and not any(np.isnan(value).any() for value in result.values())
    return result


@functools.cache
def published_network() -> SQAIR:
    """Our network with the released weights."""
    model = SQAIR(num_particles=PARTICLES)
    model.build_variables((50, 50, 1))
    mapped = pieces(model)
    assert {id(variable) for variable, _, _ in mapped} == {id(variable) for variable in model.variables}
    for variable, name, rows in mapped:
        variable.assign(value_of(name, rows, stored("weights")))
    return model


def stored_video() -> tf.Tensor:
    return tf.constant(stored("inputs")["obs"].swapaxes(0, 1))


def stored_noise() -> dict:
    """Stored noise `[T,N,M,F]` in the form that `SQAIR.unroll_stages` takes, `[B,T,K,N,F]`."""
    inputs, noise = stored("inputs"), {}
    for ours, theirs in (("propagation", "prop"), ("discovery", "disc")):
        noise[ours] = {}
        for name, key in (("where", "where"), ("what", "what"), ("pres", "u")):
            value = inputs[f"noise/{theirs}_{key}"].astype(np.float32)
            value = value.reshape(FRAMES, SLOTS, VIDEOS, PARTICLES, -1).transpose(2, 0, 3, 1, 4)
            noise[ours][name] = tf.constant(value)
    return noise


def frames_first(value) -> np.ndarray:
    """Our stage `[M,T,...]` as stored, `[T,M,...]`."""
    return np.swapaxes(np.asarray(value, np.float64), 0, 1)
