"""How a balanced loss finds the statistic of the model that calls it."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Protocol

import keras
import tensorflow as tf

from gb_keras import density, trust, watching


class Statistic(Protocol):
    """Where a balanced loss reads and leaves what it counted (see `statistics.GradientDensity`)."""

    def counts_with(self, batch_counts: tf.Tensor) -> tf.Tensor:
        """Class counts with the current batch added."""

    @property
    def noise_rate(self) -> keras.Variable | float:
        """Estimated share of wrong labels, before the current batch."""

    @property
    def class_norms(self) -> tf.Tensor | float:
        """Mean gradient norm of each class, or of all, before the current batch."""

    def update(
        self,
        counts: density.BatchCounts,
        num_active: tf.Tensor,
        num_clean: tf.Tensor | None = None,
        num_trusted: tf.Tensor | None = None,
        num_samples: tf.Tensor | None = None,
    ) -> density.Balance:
        """Take in a batch; return what is known then."""

    def observe(self, batch_density: tf.Tensor, watched: Callable[[], watching.Watched]) -> None:
        """Take in what only a watcher wants of the same batch; called after `update`."""


class Balancing(Protocol):
    """What a model tells its balanced losses while it computes its loss."""

    def statistic(self, num_classes: int) -> Statistic | None:
        """The statistic for the next loss, to be updated; None to leave the loss unbalanced."""

    def record_base_loss(self, value: tf.Tensor, batch_size: tf.Tensor) -> None:
        """Take note of the unbalanced loss of the same batch."""


# A loss object holds no state and does not know its model, as any Keras loss. The model announces
# itself here. Per thread, since each replica of a mirrored strategy traces in a thread of its own.
_current = threading.local()


@contextlib.contextmanager
def balanced_by(balancing: Balancing) -> Iterator[None]:
    """Within this block balanced losses use the statistic of a model.

    Args:
        balancing: What the model tells its losses.
    """
    outer = current()
    _current.balancing = balancing
    try:
        yield
    finally:
        _current.balancing = outer


def current() -> Balancing | None:
    """What the model that computes its loss has told; None outside of a `balanced_by` block."""
    return getattr(_current, "balancing", None)


class CurrentBatch:
    """A statistic that has seen nothing but the batch at hand, for a loss without a model.

    Args:
        multi_label: Whether each class has two counts, of negatives and of positives.
    """

    noise_rate = trust.INITIAL_NOISE_RATE
    # Nothing is learned yet.
    class_norms = 1.0

    def __init__(self, multi_label: bool):
        self._multi_label = multi_label

    def counts_with(self, batch_counts: tf.Tensor) -> tf.Tensor:
        """Class counts of the batch."""
        return tf.reshape(batch_counts, [2, -1]) if self._multi_label else batch_counts

    def update(
        self,
        counts: density.BatchCounts,
        num_active: tf.Tensor,
        num_clean: tf.Tensor | None = None,
        num_trusted: tf.Tensor | None = None,
        num_samples: tf.Tensor | None = None,
    ) -> density.Balance:
        """What the batch says by itself."""
        del num_active, num_clean, num_samples
        return density.Balance(counts.bins, counts.bins, counts.histogram, num_trusted)

    def observe(self, batch_density: tf.Tensor, watched: Callable[[], watching.Watched]) -> None:
        """Nothing: nobody can watch what is kept nowhere."""
