"""Metrics of multi-label predictions, under the names of those of one label."""

import numpy as np
import sklearn.metrics

from gb_keras.metrics import ExpectedCalibrationError
from gb_keras.stages.evaluate import METRICS


def metrics(labels: np.ndarray, logits: np.ndarray) -> dict[str, float | None]:
    """The metrics of a model's predictions; an entry is one class of one image.

    | name | what |
    |---|---|
    | `accuracy` | share of the entries that are right at probability 0.5 |
    | `balanced_accuracy` | mean over classes of the mean recall of positives and negatives |
    | `macro_f1` | mean over classes of the F1 of positives |
    | `negative_log_likelihood` | mean binary cross-entropy of the entries |
    | `expected_calibration_error` | of entries, whose confidence is that of yes or of no |
    | `mean_average_precision` | mean over classes, images ranked by logit |

    Args:
        labels: 0 or 1, each class with both, `(num_images, num_classes)`.
        logits: Model outputs, finite, `(num_images, num_classes)`.

    Returns:
        A value for each of `gb_keras.stages.evaluate.METRICS`, shares in [0, 1], and
        `mean_average_precision`; None for recall by shots, which one label alone has.

    Example:
        >>> found = metrics(np.array([[1, 0], [0, 1]]), np.array([[2.0, -1.0], [-2.0, -1.0]]))
        >>> found["accuracy"], found["balanced_accuracy"], found["few_shot_recall"]
        (0.75, 0.75, None)
    """
    logits = logits.astype("float64")
    predicted = logits > 0
    calibration = ExpectedCalibrationError()
    # Yes or no as two classes: a softmax of 0 and z is a sigmoid of z.
    entries = logits.reshape(-1, 1)
    calibration.update_state(labels.ravel(), np.hstack([np.zeros_like(entries), entries]))
    by_class = [
        sklearn.metrics.balanced_accuracy_score(*columns)
        for columns in zip(labels.T, predicted.T, strict=True)
    ]
    found = {
        "accuracy": (labels == predicted).mean(),
        "balanced_accuracy": np.mean(by_class),
        "macro_f1": sklearn.metrics.f1_score(labels, predicted, average="macro", zero_division=0),
        "negative_log_likelihood": (np.logaddexp(0, logits) - labels * logits).mean(),
        "expected_calibration_error": calibration.result(),
        "mean_average_precision": sklearn.metrics.average_precision_score(labels, logits),
    }
    return dict.fromkeys(METRICS) | {name: float(value) for name, value in found.items()}
