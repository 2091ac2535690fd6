"""A trained video model as a TensorFlow SavedModel with a state that the caller carries.

Signatures; every tensor is named, B is any batch size, K slots, F predicted frames:

    initial_state(batch_size)                      -> state
    step(frame, reset, seed, state...)             -> object table, state
    step_with_reconstruction(the same)             -> object table, reconstruction, state
    step_uint8, step_uint8_with_reconstruction     the same for frames of bytes
    predict(frames, seed, state...)                -> object tables [B,F,...] from the learned prior, state
    predict_with_reconstruction(the same)          -> the same, and imagined frames

`state...` are several tensors whose names begin with `state__`; `step` gives them back under the names it takes. The
loaded object itself has `initial_state`, `step` and `predict` with the same named arguments; this `step` takes frames
of both types, and says how to get a state when it is called without one. Frames of another size, floats that are not
in [0, 1] and batch sizes that differ are refused with a sentence (`checks`).
"""

from collections.abc import Callable, Mapping

import tensorflow as tf
from absl import logging

from silot_tf.errors import UserError
from silot_tf.export import checks, names, tables
from silot_tf.export.preprocessing import Preprocessing

BATCH_SIZE = tf.TensorSpec([], tf.int32, "batch_size")
RESET = tf.TensorSpec([None], tf.bool, "reset")
SEED = tf.TensorSpec([2], tf.int32, "seed")
FRAMES = tf.TensorSpec([], tf.int32, "frames")
NO_STATE = (
    "step was called without a state: get one from initial_state(batch_size=...), hand all of its tensors over under "
    "their names, and from then on those that step returned"
)


def write(
    model, folder, frame_shape, *, deterministic: bool = False, preprocessing: Preprocessing | None = None
) -> dict[str, dict]:
    """Write the SavedModel of a built model with its weights; return its signatures.

    Args:
      model: a `VideoModel`.
      folder: a new or empty folder.
      frame_shape: (H, W, C) of the frames that will be handed in.
      deterministic: leave out all noise: the mean stands for every sample, seeds are not looked at.
      preprocessing: what becomes of frames before the model sees them, where that is more than a division by 255.
        Boxes are in pixels of the frames that come in, reconstruction and masks are as the model sees frames.

    Returns:
      signature -> {"inputs": {name: TensorSpec}, "outputs": {name: TensorSpec}}.

    Raises:
      UserError: if the model looks at later frames, or refuses frames of this shape.
    """
    if not model.causal:
        raise UserError(
            f"{type(model).__name__} looks at later frames (causal = False), so it has no step for single frames; "
            "expected a causal model"
        )
    functions = _trace(model, tuple(frame_shape), deterministic, preprocessing)
    module = tf.Module(name="exported")
    # Keras' layers are invisible to a tf.Module; the list of their variables is not.
    module.weights = [variable.value for variable in model.variables]
    for name, function in _for_python(functions).items():
        setattr(module, name, function)
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.WARNING)  # TensorFlow lists the invented names of all weights, for every signature
    try:
        tf.saved_model.save(module, str(folder), signatures=functions)
    finally:
        logging.set_verbosity(verbosity)
    return {
        name: {
            "inputs": _inputs(function),
            "outputs": {key: _spec(value) for key, value in function.structured_outputs.items()},
        }
        for name, function in functions.items()
    }


def _trace(model, frame_shape, deterministic: bool, preprocessing: Preprocessing | None) -> dict[str, Callable]:
    """Signature -> its graph.

    The network is there twice, in `whole` and `imagine`. The others call these, and TensorFlow leaves out what they do
    not use, such as the rendering of reconstructions.
    """
    template = model.initial_state(1)
    specs = {
        name: tf.TensorSpec([None, *value.shape[1:]], value.dtype, name)
        for name, value in tables.flatten_state(template).items()
    }
    frame_specs = {dtype: tf.TensorSpec([None, *frame_shape], dtype, "frame") for dtype in (tf.float32, tf.uint8)}
    seen_shape = preprocessing.seen_shape if preprocessing else frame_shape
    seen_spec = tf.TensorSpec([None, *seen_shape], tf.float32, "frame")
    in_graph = preprocessing and _traced(frame=frame_specs[tf.uint8])(preprocessing.in_graph)  # its constants once

    def advance(frame, seed, state, **options):
        outputs, state = model.step(frame, state, seed=None if deterministic else seed, **options)
        images = {"reconstruction": outputs["reconstruction"]}
        if "mask" in outputs:
            images["masks"] = outputs["mask"]
        return tables.object_table(outputs, frame_shape) | images | tables.flatten_state(state)

    def initial_state(batch_size):
        return tables.flatten_state(model.initial_state(batch_size))

    def seen(frame):
        if in_graph:
            return in_graph(frame=frame if frame.dtype == tf.uint8 else tables.to_bytes(frame))
        return tables.to_float(frame) if frame.dtype == tf.uint8 else frame

    @_traced(frame=seen_spec, reset=RESET, seed=SEED, **specs)
    def whole(frame, reset, seed, **state):
        return advance(frame, seed, model.reset(tables.pack_state(template, state), reset))

    @_traced(frames=FRAMES, seed=SEED, **specs)
    def imagine(frames, seed, **state):
        # The prior does not look at frames; black ones stand for those that nobody has.
        batch = tf.shape(next(iter(state.values())))[0]
        blank = tf.ensure_shape(tf.zeros([batch, *seen_shape]), seen_spec.shape)

        def one(state):
            return advance(blank, seed, tables.pack_state(template, state), rollout_from=0)

        return _repeat(one, state, frames, whole.structured_outputs)

    def step(dtype, images: bool):
        @_traced(frame=frame_specs[dtype], reset=RESET, seed=SEED, **specs)
        def step(frame, reset, seed, **state):
            frame = checks.frame(frame, frame_shape)
            with tf.control_dependencies([checks.same_batch(frame, reset, next(iter(state.values())))]):
                frame = seen(tf.identity(frame))
            return _chosen(whole(frame=frame, reset=reset, seed=seed, **state), images)

        return step

    def predict(images: bool):
        @_traced(frames=FRAMES, seed=SEED, **specs)
        def predict(frames, seed, **state):
            return _chosen(imagine(frames=frames, seed=seed, **state), images)

        return predict

    return {
        "initial_state": _traced(batch_size=BATCH_SIZE)(initial_state),
        "step": step(tf.float32, False),
        "step_with_reconstruction": step(tf.float32, True),
        "step_uint8": step(tf.uint8, False),
        "step_uint8_with_reconstruction": step(tf.uint8, True),
        "predict": predict(False),
        "predict_with_reconstruction": predict(True),
    }


def _traced(**specs):
    """Decorator: the one graph of a function of named tensors."""
    return lambda function: tf.function(function, autograph=False).get_concrete_function(**specs)


def _repeat(one: Callable, state: Mapping, frames, results: Mapping) -> dict:
    """Results of `frames` calls of `one(state)`, stacked to `[B,F,...]`, and the last state.

    Args:
      one: gives results and the next state in one dictionary.
      state: name -> tensor.
      frames: scalar, at least 1.
      results: name -> something with the shape and dtype of each of the results of `one`.
    """
    arrays = {
        key: tf.TensorArray(value.dtype, frames, element_shape=value.shape)
        for key, value in results.items()
        if key not in state
    }

    def body(t, arrays, state):
        found = one(state)
        return t + 1, {key: array.write(t, found[key]) for key, array in arrays.items()}, {k: found[k] for k in state}

    positive = tf.debugging.Assert(frames > 0, ["predict: frames is the number of frames, at least 1; found", frames])
    with tf.control_dependencies([positive]):
        start = tf.constant(0)
    _, arrays, state = tf.while_loop(
        lambda t, *_: t < frames, body, (start, arrays, dict(state)), parallel_iterations=1
    )
    stacked = {key: array.stack() for key, array in arrays.items()}
    return {key: tf.transpose(value, [1, 0, *range(2, len(value.shape))]) for key, value in stacked.items()} | state


def _for_python(functions: Mapping) -> dict:
    """Functions of the loaded object, for callers in Python; `step` takes both types and has a word about states."""
    kinds = {"float32": functions["step"], "uint8": functions["step_uint8"]}
    return {
        "initial_state": functions["initial_state"],
        "step": _step_of_any_type(kinds, _inputs(functions["step"])),
        "predict": functions["predict"],
    }


def _step_of_any_type(kinds: Mapping, inputs: Mapping):
    def step(frame, **others):
        if not any(name.startswith(names.STATE_PREFIX) for name in others):
            with tf.control_dependencies([tf.debugging.Assert(False, [NO_STATE])]):
                return {"boxes": tf.zeros([0])}
        return kinds[frame.dtype.name](frame=frame, **others)

    step = tf.function(step, autograph=False)
    stateless = {name: spec for name, spec in inputs.items() if not name.startswith(names.STATE_PREFIX)}
    for dtype in kinds:
        frame = tf.TensorSpec(None, dtype, "frame")  # a wrong shape is told by the graph, in fewer words
        for given in (inputs, stateless, {}):
            step.get_concrete_function(**{**given, "frame": frame})
    return step


def _chosen(results: Mapping, images: bool) -> dict:
    return {key: value for key, value in results.items() if images or key not in names.IMAGES}


def _inputs(function) -> dict:
    """Name -> TensorSpec; TensorFlow keeps arguments with a name of their own apart from those in `**state`."""
    positional, named = function.structured_input_signature
    return {spec.name: spec for spec in positional} | dict(named)


def _spec(tensor) -> tf.TensorSpec:
    return tf.TensorSpec(tensor.shape, tensor.dtype)
