"""One mirrored strategy for all tests of a process."""

import functools

import tensorflow as tf


@functools.cache
def two_replicas() -> tf.distribute.MirroredStrategy:
    """The two virtual CPU devices as replicas.

    TensorFlow numbers collective operations anew in each strategy, but a process keeps their
    shapes by number: a second strategy on the same devices fails with a shape mismatch.
    """
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
