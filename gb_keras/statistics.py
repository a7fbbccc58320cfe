"""The running statistic of logit gradients as state of a model, one over all replicas."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from gb_keras import density, trust, watching
from gb_keras.gradient_watch import GradientWatch
from gb_keras.replicas import sum_over_replicas


@keras.saving.register_keras_serializable(package="gb_keras")
class GradientDensity(keras.layers.Layer):
    """Joint histogram of gradient norms and classes, with class counts, while training.

    A model compiled with a `GradientBalancedLoss` owns one per balanced output; read it as
    `model.gradient_density`. It is saved with the model and its checkpoints, in float32 whatever
    the compute dtype, and is the same on all replicas.

    Args:
        bins: Number of bins on the gradient norm's range [0, 1].
        momentum: Momentum of the histogram's moving average, in [0, 1).
        multi_label: Whether every logit is a sample of its own. Histogram and counts then have a
            leading axis of 2: negatives, positives.
        name: Name of the model's output, and of the layer as far as TensorFlow allows: in place of
            what it does not, such as a slash, the layer's has `_`.

    Example:
        >>> statistic = GradientDensity(bins=4, momentum=0.9)
        >>> statistic.build(2)
        >>> rows, bins = tf.constant([0, 0, 1]), tf.constant([0, 3, 3])
        >>> counts = density.count_batch(rows, bins, tf.ones(3), num_rows=2, bins=4)
        >>> _ = statistic.update(counts, num_active=tf.constant(3.0))
        >>> statistic.histogram.numpy()
        array([[1., 0., 0., 1.],
               [0., 0., 0., 1.]], dtype=float32)
        >>> statistic.class_counts.numpy()
        array([2., 1.], dtype=float32)
    """

    def __init__(self, bins: int, momentum: float, multi_label: bool = False, name: str = "output"):
        super().__init__(name=_layer_name(name), dtype="float32", trainable=False)
        self.bins = bins
        self.momentum = momentum
        self.multi_label = multi_label
        self.num_classes: int | None = None
        self.watched: GradientWatch | None = None

    def watch(self) -> GradientWatch:
        """Also take gradient mass and balanced histogram, from the next compiled step on.

        They cost a pass over the gradient and over the histogram, so they are taken only for who
        asks, in the scope of the model's distribution strategy.
        """
        self.watched = self.watched or GradientWatch(self.momentum)
        if self.built:
            self.watched.build(tuple(self.histogram.shape))
        return self.watched

    def unwatch(self) -> None:
        """Take them no longer."""
        self.watched = None

    def build(self, num_classes: int) -> None:
        """Create the state for `num_classes` classes, all zero."""
        self.num_classes = int(num_classes)
        classes = (2, self.num_classes) if self.multi_label else (self.num_classes,)

        def add(
            name: str, shape: tuple[int, ...], dtype: str, initializer: Any = "zeros"
        ) -> keras.Variable:
            # Every replica assigns the same value: it was summed over replicas before. So the
            # first replica's stands for all, and costs no second reduction.
            return self.add_weight(
                name=name,
                shape=shape,
                dtype=dtype,
                initializer=initializer,
                trainable=False,
                autocast=False,
                aggregation="only_first_replica",
            )

        self._histogram = add("histogram", (*classes, self.bins), "float32")
        if not self.multi_label:
            self._trusted = add("trusted", classes, "float32")
        self._class_counts = add("class_counts", classes, "float32")
        # In float32 it stops growing after 2^24 updates, when it has long ceased to matter.
        self._num_updates = add("num_updates", (), "float32")
        self._num_skipped = add("num_skipped", (), "int64")
        self._noise_rate = add(
            "noise_rate", (), "float32", keras.initializers.Constant(trust.INITIAL_NOISE_RATE)
        )
        self.built = True
        if self.watched is not None:
            self.watched.build(tuple(self.histogram.shape))

    @property
    def histogram(self) -> keras.Variable:
        """Moving average of the samples per batch, `(num_classes, bins)`; bin 0 is the easiest.

        `(2, num_classes, bins)` for multi-label: negatives, positives.
        """
        return self._state("_histogram")

    @property
    def trusted(self) -> keras.Variable:
        """Moving average of the sums of trust weights per batch, `(num_classes,)`.

        Over a row's sum of the histogram: how far the labels of a class are trusted, in [0, 1].
        Not for multi-label, where all are.
        """
        return self._state("_trusted")

    @property
    def class_counts(self) -> keras.Variable:
        """Samples seen of each class since the start, `(num_classes,)`; never forgets.

        `(2, num_classes)` for multi-label: negatives, positives.
        """
        return self._state("_class_counts")

    @property
    def num_updates(self) -> keras.Variable:
        """Batches taken in, float32 scalar; batches without a valid sample do not count."""
        return self._state("_num_updates")

    @property
    def num_skipped(self) -> keras.Variable:
        """Samples kept out because their loss or gradient was not finite, int64 scalar."""
        return self._state("_num_skipped")

    @property
    def noise_rate(self) -> keras.Variable:
        """Share of wrong labels, as estimated from the gradient norms, float32 scalar in (0, 1)."""
        return self._state("_noise_rate")

    @property
    def class_norms(self) -> tf.Tensor:
        """Mean gradient norm of each class by the histogram, `(num_classes,)`.

        In [0, 1]; 1 of a class without samples.
        """
        return density.class_norms(tf.convert_to_tensor(self.histogram))

    def _state(self, name: str) -> keras.Variable:
        if not self.built:
            raise ValueError(
                "The gradient statistic is empty: the number of classes is not known before the "
                "first training batch. Call fit() or train_on_batch() first."
            )
        return getattr(self, name)

    def counts_with(self, batch_counts: tf.Tensor) -> tf.Tensor:
        """Class counts with the current batch of all replicas added; changes nothing.

        Args:
            batch_counts: Samples per row in this replica's batch, `(num_rows,)`.

        Returns:
            Counts in float32, shaped as `class_counts`.
        """
        total = sum_over_replicas(batch_counts)
        return self._class_counts + _in_shape(total, self._class_counts)

    def update(
        self,
        counts: density.BatchCounts,
        num_active: tf.Tensor,
        num_clean: tf.Tensor | None = None,
        num_trusted: tf.Tensor | None = None,
        num_samples: tf.Tensor | None = None,
    ) -> density.Balance:
        """Take in one batch. A batch without a valid sample changes the statistic in nothing.

        Args:
            counts: This replica's valid samples.
            num_active: This replica's samples that take part in the loss, float32 scalar. Those
                of them that are not among the valid ones are counted as skipped.
            num_clean: Sum of the probabilities that the labels of this replica's valid samples are
                right, float32 scalar; None leaves the noise rate as it is.
            num_trusted: Sums of the trust weights of this replica's valid samples by class,
                float32, `(num_classes,)`; None where all are trusted.
            num_samples: This replica's samples of any kind, float32 scalar; None where its share is
                not wanted.

        Returns:
            What is known after the update.
        """
        num_replicas = tf.distribute.get_strategy().num_replicas_in_sync
        # All in one collective operation.
        totals = sum_over_replicas(
            {
                "counts": counts,
                "active": num_active,
                **({} if num_clean is None else {"clean": num_clean}),
                **({} if num_trusted is None else {"trusted": num_trusted}),
                **({} if num_samples is None or num_replicas == 1 else {"samples": num_samples}),
            }
        )
        counts, num_active = totals["counts"], totals["active"]
        num_valid = tf.reduce_sum(counts.bins)
        has_samples = tf.cast(num_valid > 0, tf.float32)
        num_updates = self._num_updates + has_samples
        # Rate 0 without a sample, not a branch: assigning inside tf.cond is not possible under a
        # distribution strategy.
        rate = has_samples * density.update_rate(self.momentum, tf.maximum(num_updates, 1.0))
        histogram = tf.convert_to_tensor(self._histogram)
        histogram += rate * (_in_shape(counts.histogram, histogram) - histogram)
        self._histogram.assign(histogram)
        trusted = None
        if not self.multi_label:
            trusted = tf.convert_to_tensor(self._trusted)
            trusted += rate * (totals.get("trusted", counts.rows) - trusted)
            self._trusted.assign(trusted)
        self._class_counts.assign_add(_in_shape(counts.rows, self._class_counts))
        self._num_updates.assign(num_updates)
        self._num_skipped.assign_add(tf.cast(num_active - num_valid, tf.int64))
        if "clean" in totals:
            noise_rate = tf.convert_to_tensor(self._noise_rate)
            self._noise_rate.assign(
                trust.updated_noise_rate(noise_rate, totals["clean"], num_valid)
            )
        by_row = _in_shape(histogram, counts.histogram)
        # A sum over rows as a matrix product: several times faster on a CPU than reduce_sum.
        by_sign = histogram if self.multi_label else by_row
        running_density = tf.linalg.matvec(by_sign, tf.ones(by_sign.shape[-2]), transpose_a=True)
        share = None
        if "samples" in totals:
            # A batch has a sample somewhere.
            share = num_samples * num_replicas / totals["samples"]
        return density.Balance(running_density, counts.bins, by_row, trusted, share)

    def observe(self, batch_density: tf.Tensor, watched: Callable[[], watching.Watched]) -> None:
        """Take in what only a watcher wants of the batch of the last `update`.

        Args:
            batch_density: Samples per bin in the batch over all replicas, which `update` returned.
            watched: Computes it of this replica's batch. It is called only where someone watches.
        """
        if self.watched is not None:
            has_samples = tf.reduce_sum(batch_density) > 0
            self.watched.update(watched, has_samples, tf.convert_to_tensor(self._num_updates))

    def save_own_variables(self, store: Any) -> None:
        """Write the state by name, if there is any yet."""
        if self.built:
            for name in self._state_names():
                store[name] = getattr(self, f"_{name}").numpy()

    def _state_names(self) -> list[str]:
        """What there is to save."""
        return [*_STATE_NAMES, *([] if self.multi_label else ["trusted"])]

    def load_own_variables(self, store: Any) -> None:
        """Read the state. A file of a plain model holds none: the statistic then starts anew.

        One of a model from before labels were doubted has no noise rate, which then starts anew;
        and where it does not say how far each class was trusted, all were.

        Raises:
            ValueError: The stored histogram has another shape than this model's.
        """
        stored_names = set(store.keys())
        if not stored_names:
            return
        stored = store["histogram"].shape
        if not self.built:
            self.build(stored[-2])
        if tuple(stored) != tuple(self._histogram.shape):
            raise ValueError(
                f"Expected a gradient histogram of shape {tuple(self._histogram.shape)} for "
                f"{self.name!r}. Received one of shape {tuple(stored)}. Compile the model with "
                "the same `bins` and number of classes as the one that was saved."
            )
        for name in self._state_names():
            if name == "trusted" and name not in stored_names:
                self._trusted.assign(np.sum(store["histogram"][()], axis=-1))
            elif name != "noise_rate" or name in stored_names:
                getattr(self, f"_{name}").assign(store[name][()])

    def take_over(self, other: "GradientDensity", sources: Sequence[int | None]) -> None:
        """Start from what another statistic knows, class by class.

        Args:
            other: The statistic to read, of the same bins and kind.
            sources: For each class of this one its index in the other, or None for a class of
                which nothing is known yet.

        Raises:
            ValueError: Other bins, or a single-label and a multi-label statistic.

        Example:
            >>> old, new = (GradientDensity(bins=1, momentum=0.9) for _ in range(2))
            >>> old.build(2)
            >>> _ = old.class_counts.assign([5.0, 7.0])
            >>> new.take_over(old, [1, None, 0])
            >>> new.class_counts.numpy()
            array([7., 0., 5.], dtype=float32)
        """
        if (other.bins, other.multi_label) != (self.bins, self.multi_label):
            raise ValueError(
                f"Expected a statistic of bins={self.bins}, multi_label={self.multi_label}. "
                f"Received one of bins={other.bins}, multi_label={other.multi_label}. Compile both "
                "models with the same loss."
            )
        if not other.built:
            return
        if not self.built:
            self.build(len(sources))
        new = [index for index, source in enumerate(sources) if source is not None]
        old = [source for source in sources if source is not None]
        by_class = [("_histogram", -2), ("_class_counts", -1)]
        if not self.multi_label:
            by_class.append(("_trusted", -1))
        for name, axis in by_class:
            variable = getattr(self, name)
            values = np.zeros(variable.shape, "float32")
            known = np.take(getattr(other, name).numpy(), old, axis)
            np.moveaxis(values, axis, 0)[new] = np.moveaxis(known, axis, 0)
            variable.assign(values)
        for name in ("_num_updates", "_num_skipped", "_noise_rate"):
            getattr(self, name).assign(getattr(other, name))

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild this layer."""
        return {
            "bins": self.bins,
            "momentum": self.momentum,
            "multi_label": self.multi_label,
            "name": self.name,
        }


def _layer_name(output: str) -> str:
    """A name for the layer of an output. The key in a dict of outputs may hold what it may not."""
    return re.sub("[^A-Za-z0-9_.-]", "_", output).lstrip("_.-") or "output"


_STATE_NAMES = ("histogram", "class_counts", "num_updates", "num_skipped", "noise_rate")


def _in_shape(values: tf.Tensor, like: Any) -> tf.Tensor:
    """Values in the shape of others: with multi-label, rows are of classes twice over."""
    return values if values.shape == like.shape else tf.reshape(values, like.shape)
