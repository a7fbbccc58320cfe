"""Collective operations of a training step, and what they carry."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.distribute.cross_device_utils import CollectiveReplicaLauncher


def of_a_step(model: keras.Model, x: np.ndarray, y: np.ndarray) -> list[int]:
    """Bytes of each all-reduce of a training step, in their order.

    Args:
        model: A model of a strategy of several workers, which has trained before: the first step
            creates variables, and is traced twice. It trains on the batch.
        x: A global batch.
        y: Its labels.
    """
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(len(x))
    batches = iter(model.distribute_strategy.experimental_distribute_dataset(data))
    model.make_train_function(force=True)
    with _recorded() as sizes:
        model.train_function(batches)
    return sizes


@contextlib.contextmanager
def _recorded() -> Iterator[list[int]]:
    """Bytes of each all-reduce that this worker's first replica traces or runs.

    TensorFlow launches all of several workers by one method.
    """
    sizes: list[int] = []
    launch = CollectiveReplicaLauncher.all_reduce

    def record(self: Any, tensor: tf.Tensor, *args: Any, **kwargs: Any) -> tf.Tensor:
        if self._device.endswith(":0"):
            sizes.append(tensor.shape.num_elements() * tensor.dtype.size)
        return launch(self, tensor, *args, **kwargs)

    CollectiveReplicaLauncher.all_reduce = record
    try:
        yield sizes
    finally:
        CollectiveReplicaLauncher.all_reduce = launch
