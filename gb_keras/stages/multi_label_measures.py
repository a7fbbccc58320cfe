"""Measures of multi-label predictions, over the labels that are known."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sklearn.metrics

from gb_keras.metrics import SHOTS, ExpectedCalibrationError
from gb_keras.stages.measures import calibration_bins, diverged, mean, number

# Precision at which recall is read off.
PRECISION = 0.9
METRICS = (
    "mean_average_precision",
    "micro_average_precision",
    *(f"{shot}_shot_average_precision" for shot in SHOTS),
    "mean_recall_at_90_precision",
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "negative_log_likelihood",
    "expected_calibration_error",
)
# How many entries the calibration takes in at a time.
_AT_A_TIME = 2**20


@dataclass(frozen=True)
class Entries:
    """Labels and logits of all entries that are known; an entry is one class of one image.

    Where few of the labels are known, these take far less memory than tables of all images and
    classes.

    Attributes:
        classes: Class of each entry, int, `(num_entries,)`.
        labels: Whether the image shows the class, bool, `(num_entries,)`.
        logits: Model outputs, float, `(num_entries,)`.
        num_classes: Number of classes.
        num_images: Number of images.
    """

    classes: np.ndarray
    labels: np.ndarray
    logits: np.ndarray
    num_classes: int
    num_images: int

    @classmethod
    def of_batches(
        cls, batches: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray | None]]
    ) -> "Entries":
        """Take the known entries out of batches of labels, logits and weights.

        Args:
            batches: Each of shape `(batch_size, num_classes)`; weights are 0 where a label is not
                known, or None where all are.
        """
        parts = []
        num_images = num_classes = 0
        for labels, logits, weights in batches:
            num_images += len(labels)
            num_classes = labels.shape[1]
            known = np.ones(labels.shape, bool) if weights is None else weights > 0
            classes = np.broadcast_to(np.arange(num_classes, dtype=np.int32), labels.shape)
            parts.append((classes[known], labels[known] >= 0.5, logits[known]))
        classes, labels, logits = (np.concatenate(column) for column in zip(*parts, strict=True))
        return cls(classes, labels, logits, num_classes, num_images)


def measure(
    entries: Entries,
    class_names: Sequence[str],
    train_counts: Sequence[int],
    shot_of_class: Sequence[str],
) -> dict[str, Any]:
    """All measures of a model's predictions, ready for JSON.

    Average precision, and what is made of it, is that of the classes of which positives and
    negatives are known: where all known entries are positive any ranking is perfect.

    | metric | what |
    |---|---|
    | `mean_average_precision` | mean over classes, images ranked by logit |
    | `micro_average_precision` | of all entries in one ranking |
    | `many_shot_average_precision`, ... | mean over the classes of a shot |
    | `mean_recall_at_90_precision` | mean over classes of the highest recall at this precision |
    | `accuracy` | share of the entries that are right at probability 0.5 |
    | `balanced_accuracy` | mean over classes of the mean recall of positives and negatives |
    | `macro_f1` | mean over classes of the F1 of positives |
    | `negative_log_likelihood` | mean binary cross-entropy of the entries |
    | `expected_calibration_error` | of entries, whose confidence is that of yes or of no |

    Args:
        entries: The known entries.
        class_names: Name of each class, `(num_classes,)`.
        train_counts: Training images that show each class, `(num_classes,)`.
        shot_of_class: Shot of each class (see `gb_keras.metrics.shots`), `(num_classes,)`.

    Returns:
        The part of `metrics.json` from `metrics` on.

    Example:
        >>> labels, logits = np.array([[1, 0], [0, 1]]), np.array([[2.0, -1.0], [-2.0, -1.0]])
        >>> entries = Entries.of_batches([(labels, logits, None)])
        >>> found = measure(entries, ["cat", "dog"], [90, 9], ["medium", "few"])["metrics"]
        >>> found["mean_average_precision"], found["few_shot_average_precision"], found["accuracy"]
        (0.75, 0.5, 0.75)

    Reference: Kuznetsova et al., The Open Images Dataset V4, IJCV 2020, arXiv 1811.00982, for
        measuring over verified labels alone.
    """
    num_invalid = int((~np.isfinite(entries.logits)).sum())
    columns = {} if num_invalid else _columns(entries)
    negatives, positives = _known(entries)
    result: dict[str, Any] = {
        "metrics": dict.fromkeys(METRICS),
        "per_class": [
            {
                "name": name,
                "train_count": int(train_counts[index]),
                "test_count": int(positives[index]),
                "test_absent_count": int(negatives[index]),
                **{key: number(columns[key][index]) if columns else None for key in _COLUMNS},
            }
            for index, name in enumerate(class_names)
        ],
        "confusion_matrix": None,
        "confused_pairs": [],
        "roc": None,
        "calibration": None,
        "warnings": [],
    }
    if num_invalid:
        result["warnings"] = [diverged(num_invalid, len(entries.logits), "labels")]
        return result
    calibration = _calibration(entries)
    return {
        **result,
        "metrics": _metrics(entries, columns, shot_of_class, calibration),
        "calibration": calibration_bins(calibration),
    }


def metrics(entries: Entries, shot_of_class: Sequence[str]) -> dict[str, float | None]:
    """The metrics alone, see `measure`.

    Args:
        entries: The known entries, with finite logits.
        shot_of_class: Shot of each class, `(num_classes,)`.

    Returns:
        A value for each of `METRICS`; None where there is nothing to measure.
    """
    return _metrics(entries, _columns(entries), shot_of_class, _calibration(entries))


_COLUMNS = ("average_precision", "recall_at_90_precision", "recall", "precision", "f1")


def _metrics(
    entries: Entries,
    columns: dict[str, np.ndarray],
    shot_of_class: Sequence[str],
    calibration: ExpectedCalibrationError,
) -> dict[str, float | None]:
    labels, logits = entries.labels, entries.logits.astype("float64")
    average_precision = columns["average_precision"]
    both = labels.any() and not labels.all()
    values = [
        mean(average_precision),
        sklearn.metrics.average_precision_score(labels, logits) if both else None,
        *(mean(average_precision[np.array(shot_of_class) == shot]) for shot in SHOTS),
        mean(columns["recall_at_90_precision"]),
        (labels == (logits > 0)).mean(),
        mean(columns["balanced_accuracy"]),
        mean(columns["f1"]),
        (np.logaddexp(0, logits) - labels * logits).mean(),
        calibration.result(),
    ]
    return dict(zip(METRICS, map(number, values), strict=True))


def _known(entries: Entries) -> tuple[np.ndarray, np.ndarray]:
    """Known negatives and positives of each class."""
    positives = np.bincount(entries.classes[entries.labels], minlength=entries.num_classes)
    return np.bincount(entries.classes, minlength=entries.num_classes) - positives, positives


def _columns(entries: Entries) -> dict[str, np.ndarray]:
    """`_COLUMNS` and balanced accuracy of each class, NaN where there is nothing to measure."""
    negatives, positives = _known(entries)
    predicted = entries.logits > 0

    def counts(which: np.ndarray) -> np.ndarray:
        return np.bincount(entries.classes[which], minlength=entries.num_classes)

    found, right_negatives = (
        counts(predicted & entries.labels),
        counts(~predicted & ~entries.labels),
    )
    with np.errstate(invalid="ignore"):
        recall = found / positives
        columns = {
            "recall": recall,
            "precision": found / counts(predicted),
            # Of a class that nothing shows there is no F1; one that is never found has 0.
            "f1": np.where(positives, 2 * found / (positives + counts(predicted)), np.nan),
            "balanced_accuracy": (recall + right_negatives / negatives) / 2,
        }
    ranked = np.full((2, entries.num_classes), np.nan)
    order = np.argsort(entries.classes, kind="stable")
    ends = np.cumsum(negatives + positives)
    for index, (start, end) in enumerate(itertools.pairwise((0, *ends))):
        if negatives[index] and positives[index]:
            labels, logits = entries.labels[order[start:end]], entries.logits[order[start:end]]
            precision, recalls, _ = sklearn.metrics.precision_recall_curve(labels, logits)
            ranked[0, index] = sklearn.metrics.average_precision_score(labels, logits)
            # The last point, of no answer at all, has recall 0.
            ranked[1, index] = recalls[precision >= PRECISION].max()
    return columns | dict(zip(_COLUMNS, ranked, strict=False))


def _calibration(entries: Entries) -> ExpectedCalibrationError:
    metric = ExpectedCalibrationError()
    for start in range(0, len(entries.logits), _AT_A_TIME):
        part = slice(start, start + _AT_A_TIME)
        logits = entries.logits[part, np.newaxis]
        # Yes or no as two classes: a softmax of 0 and z is a sigmoid of z.
        two = np.hstack([np.zeros_like(logits), logits])
        metric.update_state(entries.labels[part].astype("int32"), two)
    return metric
