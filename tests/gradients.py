"""The value of a loss and its gradient, in each way that TensorFlow has to run it."""

import tensorflow as tf


def differentiated(loss, mode="eager"):
    """`step(labels, outputs, sample_weight=None)` in mode "eager", "graph" or "xla"."""

    def step(labels, outputs, sample_weight=None):
        outputs = tf.convert_to_tensor(outputs)
        with tf.GradientTape() as tape:
            tape.watch(outputs)
            value = loss(labels, outputs, sample_weight)
        return value, tape.gradient(value, outputs)

    return step if mode == "eager" else tf.function(step, jit_compile=mode == "xla")
