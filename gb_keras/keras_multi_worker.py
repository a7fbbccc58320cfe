"""Keras's `fit`, `evaluate` and `predict` under TensorFlow's MultiWorkerMirroredStrategy, repaired.

Keras 3 cannot train there (keras-team/keras#20585, open as of Keras 3.15), for two reasons:

1. Before the first step it builds the model from one batch, and takes the mean of that batch over
   workers, which the values of several workers do not support. Here it is built from what this
   worker has of the batch: only shapes are read.
2. After each step it averages each of the logs over workers along its first axis, and logs have
   none. Here all scalars are averaged as they are, in one collective operation.

Both are functions of Keras's TensorFlow trainer, so the repair serves every model: balanced, plain,
and own subclasses. Everything else goes to Keras as before.

With the logs goes one number more: whether any worker is to end. So all know it after the same
step, at no further operation.
"""

from typing import Any

import keras
import tensorflow as tf
from keras.src.backend.tensorflow import trainer as keras_trainer
from packaging.version import Version

# Where Keras is known to be broken and the repair to work; tests say when it no longer is.
FIRST_BROKEN, FIRST_UNKNOWN = Version("3.12"), Version("3.16")

_Trainer = keras_trainer.TensorFlowTrainer
_keras_symbolic_build = _Trainer._maybe_symbolic_build
_keras_reduce = keras_trainer.reduce_per_replica


class EndRequest:
    """The wish of one worker to end, which all know of after the same step.

    To be made when there is a strategy of several workers, outside of its scope.
    """

    def __init__(self) -> None:
        with tf.device("CPU:0"):
            self.own = tf.Variable(0.0, trainable=False)
            self.mean = tf.Variable(0.0, trainable=False)

    def make(self) -> None:
        """Have all workers know after the next step that this one wants to end."""
        self.own.assign(1.0)

    def is_known(self) -> bool:
        """Whether any worker wanted to end before the last step; the same on all workers."""
        return float(self.mean) > 0


# That of this process, once it is one of several workers.
end_request: EndRequest | None = None


def is_needed(version: str = keras.__version__) -> bool:
    """Whether this version of Keras is one that the repair is for.

    Args:
        version: A version of Keras.

    Example:
        >>> is_needed("3.15.1"), is_needed("3.16.0")
        (True, False)
    """
    # The release alone: a development version of 3.16 is not known either.
    return FIRST_BROKEN.release <= Version(version).release < FIRST_UNKNOWN.release


def let_workers_end_together() -> None:
    """From now on, logs of several workers carry along whether any of them is to end."""
    global end_request
    end_request = EndRequest()


def repair() -> None:
    """Make Keras train on several workers, where its version cannot by itself.

    Models on one worker are trained by the same code of Keras as before.
    """
    if is_needed():
        _Trainer._maybe_symbolic_build = _symbolic_build
        keras_trainer.reduce_per_replica = _reduce_per_replica


def undo() -> None:
    """Put Keras's own code back."""
    _Trainer._maybe_symbolic_build = _keras_symbolic_build
    keras_trainer.reduce_per_replica = _keras_reduce


def _symbolic_build(model: Any, iterator: Any = None, data_batch: Any = None) -> None:
    strategy = model.distribute_strategy
    if iterator is None or not keras_trainer._collective_all_reduce_multi_worker(strategy):
        _keras_symbolic_build(model, iterator, data_batch)
        return
    _, _, batches = next(iter(iterator))
    local = keras.tree.map_structure(
        lambda value: strategy.experimental_local_results(value)[0], next(batches)
    )
    _keras_symbolic_build(model, data_batch=local)


def _reduce_per_replica(values: Any, strategy: tf.distribute.Strategy, reduction: str) -> Any:
    averaged = reduction in ("auto", "mean")
    if not averaged or not keras_trainer._collective_all_reduce_multi_worker(strategy):
        return _keras_reduce(values, strategy, reduction)

    def is_scalar(value: Any) -> bool:
        return strategy.experimental_local_results(value)[0].shape.rank == 0

    flat = keras.tree.flatten(values)
    scalars = [value for value in flat if is_scalar(value)]
    if scalars:
        stacked = strategy.run(_stacked, args=scalars)
        *means, wish = tf.unstack(strategy.reduce(tf.distribute.ReduceOp.MEAN, stacked, axis=None))
        if end_request is not None:
            end_request.mean.assign(wish)
        means = iter(means)
    reduced = [
        next(means) if is_scalar(value) else _keras_reduce(value, strategy, reduction)
        for value in flat
    ]
    return keras.tree.pack_sequence_as(values, reduced)


def _stacked(*scalars: tf.Tensor) -> tf.Tensor:
    wish = tf.zeros(()) if end_request is None else tf.convert_to_tensor(end_request.own)
    return tf.stack([*(tf.cast(scalar, tf.float32) for scalar in scalars), wish])
