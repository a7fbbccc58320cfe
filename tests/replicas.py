"""One mirrored strategy for all tests of a process."""

import tensorflow as tf

from gb_keras import distribution


def two_replicas() -> tf.distribute.MirroredStrategy:
    """The two virtual CPU devices as replicas; always the same object."""
    return distribution.strategy("mirrored")
