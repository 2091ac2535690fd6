"""One update of every model on one replica and on two: `python -m tests.conformance.two_replicas`.

Logical devices must be made before TensorFlow starts, so this needs a process of its own. Both replicas
see the same clip with the same noise, so the mean loss and the mean gradient are those of one replica, and so are the
weights after an update.
"""

import json
import sys

import keras
import tensorflow as tf

REPLICAS = {"one": ["CPU:0"], "two": ["CPU:0", "CPU:1"]}


def update(subject, strategy) -> dict:
    """Loss of one update, replica by replica, and a digest of each weight after it."""
    from tests.conformance import cases

    with strategy.scope():
        model = subject.build()
        optimizer = keras.optimizers.SGD(1e-4)  # Adam's first step is a sign, which rounding can flip
        optimizer.build(model.trainable_variables)
    batch = cases.batch_of(subject.video(batch=1, frames=1))

    def step():
        with tf.GradientTape() as tape:
            terms, _ = model.loss_terms(batch, cases.annealed(model), seed=cases.SEED)
            loss = tf.add_n([tf.reduce_sum(term) for term in terms.values()])
        gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
        # Keras' optimizers sum gradients over replicas.
        gradients = [
            tf.zeros(v.shape) if gradient is None else gradient / strategy.num_replicas_in_sync
            for gradient, v in zip(gradients, model.trainable_variables, strict=True)
        ]
        optimizer.apply(gradients, model.trainable_variables)
        return loss

    update_all = tf.function(lambda: strategy.run(step), autograph=False)
    losses = strategy.experimental_local_results(update_all())
    return {"losses": [float(x) for x in losses], "weights": [digest(v.value) for v in model.trainable_variables]}


def digest(weight) -> float:
    """A sum over the entries, each with a factor of its own."""
    flat = tf.reshape(weight, [-1])
    return float(tf.reduce_sum(flat * tf.cos(tf.range(len(flat), dtype=flat.dtype))))


def main() -> None:
    """Print one JSON object: model -> number of replicas -> result of `update`."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    from tests.conformance import cases  # makes tensors, which is possible only now

    results = {}
    for name in sys.argv[1:] or sorted(cases.model_files()):
        subject = cases.ModelUnderTest(name)
        results[name] = {
            count: update(subject, tf.distribute.MirroredStrategy(devices, tf.distribute.ReductionToOneDevice()))
            for count, devices in REPLICAS.items()
        }
    print(json.dumps(results))


if __name__ == "__main__":
    main()
