"""What measures of one and of several labels have in common: means, and numbers for JSON."""

from typing import Any

import numpy as np

from gb_keras.metrics import ExpectedCalibrationError


def mean(values: np.ndarray) -> float | None:
    """Mean of the values that are numbers; None if there is none.

    Example:
        >>> mean(np.array([1.0, 2.0, np.nan])), mean(np.array([np.nan]))
        (1.5, None)
    """
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None


def number(value: Any) -> float | None:
    """A float for JSON, which knows no NaN and no infinity.

    Example:
        >>> number(0.5), number(float("nan")), number(None)
        (0.5, None, None)
    """
    return None if value is None or not np.isfinite(value) else float(value)


def diverged(num_invalid: int, number: int, what: str) -> str:
    """The warning that predictions are no finite numbers.

    Args:
        num_invalid: How many are not.
        number: How many there are.
        what: Of what.
    """
    return (
        f"The model's predictions for {num_invalid} of {number} {what} are not finite numbers, so "
        "nothing could be measured. Training has diverged: lower the learning rate, or look in the "
        "history for the epoch where the loss broke."
    )


def calibration_bins(metric: ExpectedCalibrationError) -> list[dict[str, Any]]:
    """Number, mean confidence and accuracy of each bin (None where empty)."""
    totals, corrects, confidences = (
        each.numpy().astype("float64") for each in (metric.total, metric.correct, metric.confidence)
    )
    return [
        {
            "count": int(total),
            "confidence": float(confidence / total) if total else None,
            "accuracy": float(correct / total) if total else None,
        }
        for total, correct, confidence in zip(totals, corrects, confidences, strict=True)
    ]
