"""What a gradient statistic says at one step of training, in NumPy: what summaries show."""

import dataclasses

import numpy as np

from gb_keras import density
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
        weights: Weight of a sample by its norm, `(bins,)`; NaN where there is no sample.
        class_counts: Samples seen of each class, `(num_classes,)`.
        margins: Margins added to the logits in training, `(num_classes,)`.
        mass: Gradient mass of each class, positive and negative, `(2, num_classes)`, or None where
            it is not watched.
        num_skipped: Samples kept out of the statistic.
    """

    name: str
    loss: GradientBalancedLoss
    balanced: bool
    histogram: np.ndarray
    weights: np.ndarray
    class_counts: np.ndarray
    margins: np.ndarray
    mass: np.ndarray | None
    num_skipped: int

    @property
    def density(self) -> np.ndarray:
        """Samples per batch by gradient norm, all classes, `(bins,)`."""
        return self.histogram.sum(axis=0)

    @property
    def mean_norms(self) -> np.ndarray:
        """Mean gradient norm of each class, `(num_classes,)`; NaN of a class without samples.

        To the precision of a bin: samples are taken to lie in the middle of theirs.
        """
        bins = self.histogram.shape[1]
        return self._mean((np.arange(bins, dtype=np.float32) + 0.5) / bins)

    @property
    def mean_weights(self) -> np.ndarray:
        """Mean weight of each class's samples, `(num_classes,)`; NaN without samples."""
        return self._mean(np.nan_to_num(self.weights))

    def _mean(self, by_bin: np.ndarray) -> np.ndarray:
        samples = self.histogram.sum(axis=1)
        total = self.histogram @ by_bin.astype(np.float32)
        return np.divide(total, samples, out=np.full_like(samples, np.nan), where=samples > 0)


def take(
    name: str, loss: GradientBalancedLoss, statistic: GradientDensity, balanced: bool
) -> list[Snapshot]:
    """Read a statistic: one snapshot, or two of a multi-label one (negatives, positives).

    Args:
        name: Name of the statistic.
        loss: How its loss is balanced.
        statistic: The statistic, built.
        balanced: Whether the model trains with this loss.

    Example:
        >>> statistic = GradientDensity(bins=4, momentum=0.9)
        >>> statistic.build(3)
        >>> [snapshot] = take("output", GradientBalancedLoss(bins=4), statistic, balanced=True)
        >>> snapshot.histogram.shape, snapshot.density
        ((3, 4), array([0., 0., 0., 0.], dtype=float32))
    """
    histogram = statistic.histogram.numpy()
    class_counts = statistic.class_counts.numpy()
    bins = histogram.shape[-1]
    # The running density stands for the batch as well: weights of mean 1 over all samples.
    all_classes = histogram.reshape(-1, bins).sum(axis=0)
    weights = density.bin_weights(all_classes, all_classes, loss.density_exponent, loss.max_weight)
    margin_of = density.class_log_odds if statistic.multi_label else density.class_margin
    margins = margin_of(class_counts, loss.prior_strength).numpy()
    shared = {
        "loss": loss,
        "balanced": balanced,
        "weights": np.where(all_classes > 0, weights.numpy(), np.float32(np.nan)),
        "margins": margins,
        "mass": None if statistic.mass is None else statistic.mass.value.numpy(),
        "num_skipped": int(statistic.num_skipped.numpy()),
    }
    if not statistic.multi_label:
        return [Snapshot(name=name, histogram=histogram, class_counts=class_counts, **shared)]
    return [
        Snapshot(name=f"{name}/{part}", histogram=rows, class_counts=counts, **shared)
        for part, rows, counts in zip(
            ("negatives", "positives"), histogram, class_counts, strict=True
        )
    ]
