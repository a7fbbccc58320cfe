"""What is taken of a training's gradients only while somebody watches."""

import math
from collections.abc import Callable

import keras
import tensorflow as tf

from gb_keras import density, watching

# Of the batches, one in so many is watched in the long run.
WATCHED_BATCHES = 16


class GradientWatch:
    """Moving averages that are taken only while somebody watches.

    They move as the histogram beside them does, first with each batch, later with each sixteenth
    (see `update`). They are no part of what a model saves: they start anew, as a plain mean, where
    a training is resumed.

    Each replica keeps its own part, of its samples, and a step sums nothing over replicas: whoever
    reads them does, and of several workers all must read together.

    Args:
        momentum: Momentum of the moving averages, in [0, 1).
    """

    def __init__(self, momentum: float):
        self._momentum = momentum
        self._built = False

    @property
    def mass(self) -> keras.Variable:
        """Gradient mass of each class in a batch, `(2, num_classes)`: positive, negative."""
        return self._state("_mass")

    @property
    def cells(self) -> keras.Variable:
        """The flat histogram and the balanced one, `(2, num_rows * bins)`, since watching began.

        The balanced one counts each sample with its weight in the loss.
        """
        return self._state("_cells")

    def _state(self, name: str) -> keras.Variable:
        if not self._built:
            raise ValueError(
                "Nothing is watched yet: the number of classes is not known before the first "
                "training batch. Call fit() or train_on_batch() first."
            )
        return getattr(self, name)

    def build(self, shape: tuple[int, ...]) -> None:
        """Create the state for a histogram of this shape, all zero, where there is none yet."""
        if self._built:
            return

        def zeros(shape: tuple[int, ...], name: str, aggregation: str = "sum") -> keras.Variable:
            return keras.Variable(
                tf.zeros(shape),
                dtype="float32",
                trainable=False,
                autocast=False,
                synchronization="on_read",
                aggregation=aggregation,
                name=name,
            )

        self._mass = zeros((2, shape[-2]), "gradient_mass")
        self._cells = zeros((2, math.prod(shape)), "gradient_cells")
        # The same on all replicas.
        self._num_updates = zeros((), "num_watched", "only_first_replica")
        self._built = True

    def update(
        self,
        watched: Callable[[], watching.Watched],
        has_samples: tf.Tensor,
        num_batches: tf.Tensor,
    ) -> None:
        """Take in this replica's batch, or let it pass.

        Each is taken in until the averages hold as many as their momentum remembers, which is 100
        for 0.99. From then on they move slowly, and one in sixteen is enough: a pass over the
        gradient and the histograms has its price. A batch without a valid sample changes nothing,
        a replica's batch with a non-finite gradient no mass.

        Args:
            watched: Computes what is of interest of the batch.
            has_samples: Whether the batch has a valid sample on any replica, bool scalar.
            num_batches: Batches that the statistic has taken in, this one included, float32 scalar.
                From 2^24 on float32 counts no further, and each batch is taken in.
        """
        state = [self._mass, self._cells, self._num_updates]
        mass, cells, num_updates = (tf.convert_to_tensor(each) for each in state)

        def take_in() -> tf.Tensor:
            after = self._averages(mass, cells, num_updates, watched(), has_samples)
            for variable, value in zip(state, after, strict=True):
                variable.assign(value)
            return tf.constant(True)

        memory = 1.0 / (1.0 - self._momentum)
        due = (num_updates < memory) | (num_batches % WATCHED_BATCHES == 0)
        tf.cond(due, take_in, lambda: tf.constant(False))

    def _averages(
        self,
        mass: tf.Tensor,
        cells: tf.Tensor,
        num_updates: tf.Tensor,
        watched: watching.Watched,
        has_samples: tf.Tensor,
    ) -> list[tf.Tensor]:
        """Mass, cells and number of updates with a batch taken in."""
        taken = tf.cast(has_samples, tf.float32)
        num_updates += taken
        rate = taken * density.update_rate(self._momentum, tf.maximum(num_updates, 1.0))
        finite = tf.reduce_all(tf.math.is_finite(watched.mass))
        mass = tf.where(finite, mass + rate * (watched.mass - mass), mass)
        return [mass, watching.averaged_cells(cells, watched, rate), num_updates]
