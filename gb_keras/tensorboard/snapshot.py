"""What a gradient statistic says at one step of training, in NumPy: what summaries show."""

import dataclasses

import numpy as np
import tensorflow as tf

from gb_keras.losses import GradientBalancedLoss
from gb_keras.statistics import GradientDensity


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A gradient statistic at one step.

    Attributes:
        name: Name of the statistic.
        loss: How the loss is balanced.
        balanced: Whether the model trains with this loss, or is only observed.
        histogram: Samples per batch of each class by gradient norm, `(num_classes, bins)`.
        balanced_histogram: The same, each sample counted with its weight, `(num_classes, bins)`.
        class_counts: Samples seen of each class, `(num_classes,)`.
        density_weights: Weight of a sample by the density at its norm alone, `(bins,)`; NaN where
            there is no sample.
        margins: Margins added to the logits in training, `(num_classes,)`.
        mass: Gradient mass of each class, positive and negative, `(2, num_classes)`.
        num_skipped: Samples kept out of the statistic.
        noise_rate: Estimated share of wrong labels; None where the loss does not estimate it.
    """

    name: str
    loss: GradientBalancedLoss
    balanced: bool
    histogram: np.ndarray
    balanced_histogram: np.ndarray
    class_counts: np.ndarray
    density_weights: np.ndarray
    margins: np.ndarray
    mass: np.ndarray
    num_skipped: int
    noise_rate: float | None

    @property
    def density(self) -> np.ndarray:
        """Samples per batch by gradient norm, all classes, `(bins,)`."""
        return self.histogram.sum(axis=0)

    @property
    def weights(self) -> np.ndarray:
        """Mean weight of a sample by its norm, `(bins,)`; NaN where there is no sample."""
        return _ratio(self.balanced_histogram.sum(axis=0), self.density)

    @property
    def mean_norms(self) -> np.ndarray:
        """Mean gradient norm of each class, `(num_classes,)`; NaN of a class without samples.

        To the precision of a bin: samples are taken to lie in the middle of theirs.
        """
        bins = self.histogram.shape[1]
        norms = (np.arange(bins, dtype=np.float32) + 0.5) / bins
        return _ratio(self.histogram @ norms, self.histogram.sum(axis=1))

    @property
    def mean_weights(self) -> np.ndarray:
        """Mean weight of each class's samples, `(num_classes,)`; NaN without samples."""
        return _ratio(self.balanced_histogram.sum(axis=1), self.histogram.sum(axis=1))


def take(
    name: str, loss: GradientBalancedLoss, statistic: GradientDensity, balanced: bool
) -> list[Snapshot]:
    """Read a statistic: one snapshot, or two of a multi-label one (negatives, positives).

    Args:
        name: Name of the statistic.
        loss: How its loss is balanced.
        statistic: The statistic, built and watched.
        balanced: Whether the model trains with this loss.

    Example:
        >>> statistic = GradientDensity(bins=4, momentum=0.9)
        >>> watched = statistic.watch()
        >>> statistic.build(3)
        >>> [snapshot] = take("output", GradientBalancedLoss(bins=4), statistic, balanced=True)
        >>> snapshot.histogram.shape, snapshot.density
        ((3, 4), array([0., 0., 0., 0.], dtype=float32))
    """
    assert statistic.watched is not None
    histogram = statistic.histogram.numpy()
    class_counts = statistic.class_counts.numpy()
    bins = histogram.shape[-1]
    all_classes = histogram.reshape(-1, bins).sum(axis=0)
    # The running density stands for the batch as well: weights of mean 1 over all samples.
    running = histogram.sum(axis=-2)
    weights = loss.bin_weights(tf.constant(running), tf.constant(running)).numpy()
    if statistic.multi_label:
        # By sign: (2, 1, bins), as the histogram is (2, num_classes, bins).
        weights = weights[:, np.newaxis]
    density_weights = np.where(all_classes > 0, weights, np.float32(np.nan))
    balanced_histogram = _balanced(histogram, statistic.watched.cells.numpy(), density_weights)
    shared = {
        "margins": loss.margin_in_training(tf.constant(class_counts), statistic).numpy(),
        "mass": statistic.watched.mass.numpy(),
        "num_skipped": int(statistic.num_skipped.numpy()),
        "noise_rate": float(statistic.noise_rate.numpy()) if loss.estimates_noise else None,
    }
    if not statistic.multi_label:
        return [
            Snapshot(
                name,
                loss,
                balanced,
                histogram,
                balanced_histogram,
                class_counts,
                density_weights=density_weights,
                **shared,
            )
        ]
    return [
        Snapshot(
            f"{name}/{sign}",
            loss,
            balanced,
            histogram[index],
            balanced_histogram[index],
            class_counts[index],
            density_weights=density_weights[index, 0],
            **shared,
        )
        for index, sign in enumerate(("negatives", "positives"))
    ]


def _balanced(histogram: np.ndarray, cells: np.ndarray, density_weights: np.ndarray) -> np.ndarray:
    """The histogram with each sample counted with its weight, the mean one of its place.

    The histogram may be older than what was watched, as in a training that is resumed. A place
    where nothing was watched yet takes the weights by density.

    Args:
        histogram: Samples, `(..., bins)`.
        cells: Samples watched, plain and balanced, `(2, num_rows * bins)`.
        density_weights: `(bins,)`, or what fits the histogram; NaN where there is no sample.
    """
    plain, balanced = cells.reshape(2, *histogram.shape)
    unknown = np.broadcast_to(np.nan_to_num(density_weights), histogram.shape)
    return histogram * np.divide(balanced, plain, out=unknown.copy(), where=plain > 0)


def _ratio(total: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """A mean over samples; NaN where there are none."""
    return np.divide(total, samples, out=np.full_like(samples, np.nan), where=samples > 0)
