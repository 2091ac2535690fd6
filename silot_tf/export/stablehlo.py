"""One step of an export as a StableHLO module, for compilers and runtimes other than TensorFlow's.

TensorFlow's own compiler makes it: bytes in the versioned, portable form, bound to batch 1, with the weights inside.
Inputs and outputs have no names there; the card lists them in their order.

ONNX is not offered: tf2onnx 1.17 has no operators for the noise (`StatelessRandomUniformFullIntV2`, `Ndtri`), and
without noise it stops at inputs that the state hands through ("graph input ... not exist").
"""

import pathlib

import numpy as np
import tensorflow as tf
from scipy import optimize, spatial
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from silot_tf import files
from silot_tf.errors import UserError
from silot_tf.export import check

SIGNATURE, FILE = "step_uint8", "step_uint8_batch1.stablehlo"
#: Objects of less presence are not compared. With many slots, candidates that are equally absent within rounding stand
#: at the edge of the selection; which of them gets a slot shifts the slots of other new objects, and nothing else.
COMPARED_PRESENCE = 0.01
#: Another compiler joins other operations and rounds otherwise: 2e-5 after one step of 128 objects.
TOLERANCE = 1e-4
_CALL_VERSION = 9  # of TensorFlow's operation that runs such modules: serialized, with the platform named


def write(folder) -> dict:
    """Put the module into the folder of an export that has a reference, check it, and return its entry for the card.

    Raises:
      UserError: if the compiler does not take the model, or the module gives other results on the reference clip.
    """
    folder = pathlib.Path(folder)
    loaded = tf.saved_model.load(str(folder))  # to be kept: weights go with the object
    signatures = loaded.signatures
    state = signatures["initial_state"](batch_size=tf.constant(1))
    with np.load(folder / "reference.npz", allow_pickle=False) as archive:
        video, resets, seed = archive["video"][:1], archive["batch1/reset"], archive["seed"]
    first = {"frame": video[:, 0], "reset": resets[:, 0], "seed": seed}
    arguments = {name: tf.convert_to_tensor(value) for name, value in (first | dict(state)).items()}
    outputs = dict(sorted(signatures[SIGNATURE](**arguments).items()))
    module = _compile(signatures[SIGNATURE], arguments, list(outputs))
    # The specifications, not the values, of what comes out.
    run = _runner(module, [(value.shape, value.dtype) for value in outputs.values()])
    largest = 0.0
    for t in range(video.shape[1]):
        frame = {"frame": tf.constant(video[:, t]), "reset": tf.constant(resets[:, t])}
        expected = signatures[SIGNATURE](**(arguments | frame))
        found = dict(zip(outputs, run(*(arguments | frame).values()), strict=True))
        largest = max(largest, _difference(found, expected, video.shape[2:]))
        arguments |= {name: expected[name] for name in state}
    if largest > TOLERANCE:
        raise UserError(
            f"the StableHLO module differs from the SavedModel by {largest:.1e}, more than {TOLERANCE:g}; export "
            "without --stablehlo"
        )
    files.write_atomic(folder / FILE, module)
    return {"file": FILE, "inputs": list(arguments), "outputs": list(outputs), "largest_difference": largest}


def _compile(function, arguments: dict, outputs: list[str]) -> bytes:
    """The module of a function of named tensors, with variables as constants, for the shapes of `arguments`."""
    names = list(arguments)

    def in_order(*values):
        results = function(**dict(zip(names, values, strict=True)))
        return [results[name] for name in outputs]

    specs = [tf.TensorSpec(value.shape, value.dtype, name) for name, value in arguments.items()]
    frozen = convert_variables_to_constants_v2(tf.function(in_order, autograph=False).get_concrete_function(*specs))
    compiled = tf.function(lambda *values: frozen(*values), jit_compile=True, autograph=False)
    try:
        text = compiled.experimental_get_compiler_ir(*arguments.values())
        return text(stage="stablehlo_serialized", platform_name="CPU")
    except (ValueError, tf.errors.OpError) as error:
        first = str(error).strip().splitlines()[0]
        message = f"TensorFlow's compiler does not take this model ({first}); export without --stablehlo"
        raise UserError(message) from error


def _runner(module: bytes, specs):
    """A function that runs the module itself, not what it was made of."""
    from tensorflow.compiler.tf2xla.ops import gen_xla_ops  # the operation has no public name

    def call(*values):
        shapes, types = zip(*specs, strict=True)
        return gen_xla_ops.xla_call_module(
            list(values), version=_CALL_VERSION, module=module, Sout=shapes, Tout=types, platforms=["CPU"]
        )

    return tf.function(call, jit_compile=True, autograph=False)


def _difference(found: dict, expected: dict, frame_shape) -> float:
    """Largest difference of results at batch 1, see `check.difference_of` and `COMPARED_PRESENCE`."""
    found, expected = ({name: value.numpy() for name, value in results.items()} for results in (found, expected))
    count = expected["presence"].shape[1]
    of_slots = [name for name, value in expected.items() if value.ndim > 1 and value.shape[1] == count]
    present = [side["presence"][0] >= COMPARED_PRESENCE for side in (found, expected)]
    new = [side["is_new"][0] & here for side, here in zip((found, expected), present, strict=True)]
    kept = [here & ~fresh for here, fresh in zip(present, new, strict=True)]
    if new[0].sum() != new[1].sum() or not np.array_equal(*kept):
        return float("inf")
    rows = [
        np.concatenate([np.reshape(side[name][0], (count, -1)) for name in of_slots], axis=1, dtype=float)[fresh]
        for side, fresh in zip((found, expected), new, strict=True)
    ]
    pairs = optimize.linear_sum_assignment(spatial.distance.cdist(*rows, "chebyshev"))
    slots = [
        np.concatenate([np.flatnonzero(old), np.flatnonzero(fresh)[order]])
        for old, fresh, order in zip(kept, new, pairs, strict=True)
    ]
    differences = []
    for name, value in expected.items():
        pair = [found[name], value]
        if name in of_slots:
            pair = [side[:, chosen] for side, chosen in zip(pair, slots, strict=True)]
        differences.append(check.difference_of(np, *pair, np.array(frame_shape), name))
    return max(differences)
