"""Write gradient balance summaries with `tf.summary`: the format is described in `metadata`.

An event holds one tensor and stays below 256 KiB up to 60,000 classes. Where the histogram of all
classes is larger than that, or of more than 200 classes, its rows are those of chosen classes: the
ones a user names, and those with the most and with the least gradient mass. Quantiles over all
classes stand for the others.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf
from tensorboard.plugins.histogram import metadata as histogram_metadata

from gb_keras.tensorboard import metadata
from gb_keras.tensorboard.snapshot import Snapshot

MAX_EVENT_BYTES = 256 * 1024
MAX_HISTOGRAM_ROWS = 200
# Classes with the most, and as many with the least gradient mass, where not all are written.
NUM_EXTREME_CLASSES = 10
# Room for the rest of an event beside its tensor.
_MAX_TENSOR_BYTES = MAX_EVENT_BYTES - 16 * 1024


def gradient_balance(
    snapshot: Snapshot,
    step: int,
    classes: Sequence[int] = (),
    scalars: Mapping[str, float] | None = None,
) -> None:
    """Write what a gradient statistic says at a step, by the default summary writer.

    Args:
        snapshot: The statistic.
        step: Training step, at least 0.
        classes: Classes whose histogram is always written, at most `max_chosen(bins)`.
        scalars: `"loss"`, `"base_loss"` and `"num_epochs"`, where known.

    Raises:
        ValueError: A class out of range, or more classes than an event has room for.

    Example:
        >>> import tempfile
        >>> from gb_keras import GradientBalancedLoss, GradientDensity
        >>> from gb_keras.tensorboard import snapshot
        >>> statistic = GradientDensity(bins=30, momentum=0.99)
        >>> watched = statistic.watch()
        >>> statistic.build(10)
        >>> with tf.summary.create_file_writer(tempfile.mkdtemp()).as_default():
        ...     for taken in snapshot.take("output", GradientBalancedLoss(), statistic, True):
        ...         gradient_balance(taken, step=1)
    """
    tensors: dict[str, np.ndarray | np.float32] = dict(_histograms(snapshot, classes))
    tensors |= {
        "density": snapshot.density,
        "weights": snapshot.weights,
        "density_weights": snapshot.density_weights,
        "class_counts": snapshot.class_counts,
        "margins": snapshot.margins,
        "mean_norms": snapshot.mean_norms,
        "mean_weights": snapshot.mean_weights,
        "mass_positive": snapshot.mass[0],
        "mass_negative": snapshot.mass[1],
    }
    tensors |= {kind: np.float32(value) for kind, value in _scalars(snapshot, scalars).items()}
    for kind, tensor in tensors.items():
        _write(snapshot, kind, tensor, step)


def class_recalls(snapshot: Snapshot, values: np.ndarray, step: int) -> None:
    """Write the recall of each class, by the default summary writer.

    Args:
        snapshot: The statistic whose classes they are.
        values: Recalls in [0, 1], `(num_classes,)`; NaN of unknown ones.
        step: Training step.
    """
    _write(snapshot, "recalls", values.astype(np.float32), step)


def class_names(snapshot: Snapshot, names: Sequence[str]) -> None:
    """Write the names of all classes, once for a run, by the default summary writer.

    They come in pages of at most 256 KiB, with the page's number as step. Names longer than 200
    characters are cut.

    Args:
        snapshot: The statistic whose classes they are.
        names: Names in the order of the classes, `(num_classes,)`.
    """
    page: list[str] = []
    size = step = 0
    for name in map(metadata.cut, names):
        # A string costs its bytes and a few more.
        size += len(name.encode()) + 8
        if size > _MAX_TENSOR_BYTES:
            _write(snapshot, "class_names", np.array(page, object), step)
            page, size, step = [], len(name.encode()) + 8, step + 1
        page.append(name)
    _write(snapshot, "class_names", np.array(page, object), step)


def plain(snapshot: Snapshot, step: int, scalars: Mapping[str, float] | None = None) -> None:
    """Write the same in short for TensorBoard's own Scalars and Histograms pages.

    Args:
        snapshot: The statistic.
        step: Training step.
        scalars: As in `gradient_balance`.
    """
    prefix = f"gradient_balance/{snapshot.name}"
    weighted = snapshot.density * np.nan_to_num(snapshot.weights)
    for name, values in (("gradient_norm", snapshot.density), ("balanced_gradient_norm", weighted)):
        if snapshot.balanced or name == "gradient_norm":
            edges = np.linspace(0.0, 1.0, len(values) + 1)
            tf.summary.write(
                f"{prefix}/{name}",
                np.stack([edges[:-1], edges[1:], values], axis=1),
                step=step,
                metadata=histogram_metadata.create_summary_metadata(
                    display_name=None, description="Samples per batch by gradient norm."
                ).SerializeToString(),
            )
    for name, value in _scalars(snapshot, scalars).items():
        tf.summary.scalar(f"{prefix}/{name}", value, step=step)


def _scalars(snapshot: Snapshot, scalars: Mapping[str, float] | None) -> dict[str, float]:
    """All scalars of a step by their kinds."""
    found = {"num_skipped": snapshot.num_skipped, **(scalars or {})}
    if snapshot.noise_rate is not None:
        found["noise_rate"] = snapshot.noise_rate
    return found


def max_chosen(bins: int) -> int:
    """How many classes a user may choose to have in the histogram of many classes."""
    return _max_rows(bins) - 2 * NUM_EXTREME_CLASSES


def check_classes(classes: Sequence[int], num_classes: int, bins: int) -> None:
    """Refuse chosen classes that a model does not have, or that are too many for an event.

    Args:
        classes: Chosen classes.
        num_classes: Number of classes of the model.
        bins: Number of bins of the histogram.

    Raises:
        ValueError: A class out of range, or more classes than an event has room for.
    """
    wrong = [index for index in classes if not 0 <= index < num_classes]
    too_many = num_classes > _max_rows(bins) and len(set(classes)) > max_chosen(bins)
    if wrong or too_many:
        raise ValueError(
            f"Expected at most {max_chosen(bins)} classes in [0, {num_classes}) whose histogram "
            f"is to be written. Received {len(classes)}: {(wrong or list(classes))[:10]}. Choose "
            "others, or fewer."
        )


def _max_rows(bins: int) -> int:
    return min(MAX_HISTOGRAM_ROWS, max(_MAX_TENSOR_BYTES // (4 * bins), 2 * NUM_EXTREME_CLASSES))


def _histograms(snapshot: Snapshot, classes: Sequence[int]) -> Iterator[tuple[str, np.ndarray]]:
    num_classes, bins = snapshot.histogram.shape
    rows = np.arange(num_classes, dtype=np.int32)
    if num_classes > _max_rows(bins):
        rows = _chosen_rows(snapshot, classes)
        yield "histogram_quantiles", _quantiles(snapshot.histogram)
    yield "histogram_classes", rows
    yield "histogram", snapshot.histogram[rows]
    yield "balanced_histogram", snapshot.balanced_histogram[rows]


def _chosen_rows(snapshot: Snapshot, classes: Sequence[int]) -> np.ndarray:
    num_classes, bins = snapshot.histogram.shape
    check_classes(classes, num_classes, bins)
    chosen = np.asarray(classes, np.int32)
    order = np.argsort(-snapshot.mass.sum(axis=0), kind="stable")
    extremes = [order[:NUM_EXTREME_CLASSES], order[-NUM_EXTREME_CLASSES:]]
    return np.unique(np.concatenate([chosen, *extremes]).astype(np.int32))


def _quantiles(histogram: np.ndarray) -> np.ndarray:
    """Quantiles over the classes that have samples of a class's share in each bin."""
    samples = histogram.sum(axis=1, keepdims=True)
    seen = samples[:, 0] > 0
    if not seen.any():
        return np.zeros((len(metadata.QUANTILE_LEVELS), histogram.shape[1]), np.float32)
    shares = histogram[seen] / samples[seen]
    return np.quantile(shares, metadata.QUANTILE_LEVELS, axis=0).astype(np.float32)


def _write(snapshot: Snapshot, kind: str, tensor: np.ndarray | np.float32, step: int) -> None:
    num_classes, bins = snapshot.histogram.shape
    loss = snapshot.loss
    content = metadata.Content(
        kind=kind,
        statistic=snapshot.name,
        num_classes=num_classes,
        bins=bins,
        balanced=snapshot.balanced,
        multi_label=loss.base.multi_label,
        density_exponent=loss.density_exponent,
        prior_strength=loss.prior_strength,
        max_weight=loss.max_weight,
    )
    tf.summary.write(
        metadata.tag(snapshot.name, kind),
        tensor,
        step=step,
        metadata=metadata.summary_metadata(content).SerializeToString(),
    )
