"""Evaluate a run: numbers for a program, and a report for a person."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import sklearn.metrics
import tensorflow as tf

from gb_keras.data import pipeline
from gb_keras.metrics import SHOTS, ExpectedCalibrationError, shots
from gb_keras.stages import files, multi_label_measures, report_evaluation, trained_model
from gb_keras.stages.measures import calibration_bins, diverged, mean, number

METRICS = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "many_shot_recall",
    "medium_shot_recall",
    "few_shot_recall",
    "negative_log_likelihood",
    "expected_calibration_error",
)
# What grows with the square of the classes, or with classes times examples, stays bounded.
_MAX_CLASSES_OF_MATRIX = 1000
_MAX_SCORES_OF_MICRO_ROC = 20_000_000
_MAX_ROC_POINTS = 200
_NUM_PAIRS = 20


def evaluate(
    run_dir: str | os.PathLike,
    data_dir: str | os.PathLike,
    output_dir: str | os.PathLike,
    *,
    split: str = "test",
    batch_size: int = 256,
    many_shot: int = 100,
    few_shot: int = 20,
) -> dict[str, Any]:
    """Measure a trained model on a split, and write `metrics.json`, `per_class.csv`, `report.html`.

    Args:
        run_dir: Folder that `train` wrote.
        data_dir: Folder that `prepare` wrote.
        output_dir: New folder for the result. It appears whole or not at all.
        split: Split of the data to measure on.
        batch_size: Images at a time; changes speed and memory only.
        many_shot: Classes with more training samples than this are many-shot.
        few_shot: Classes with fewer training samples than this are few-shot.

    Returns:
        The content of `metrics.json`. Where the model's predictions are not numbers, because
        training diverged, the metrics are None and `warnings` says so.

    Raises:
        FileNotFoundError: `run_dir` holds no finished run.
        FileExistsError: `output_dir` already holds something.
        ValueError: The split is unknown or empty, the model and the data have other classes, or
            `few_shot` is larger than `many_shot`.
    """
    files.require_empty(output_dir)
    config, history, gradient_density = _read_run(run_dir)
    manifest = pipeline.read_manifest(data_dir)
    _check_split(manifest, split, data_dir)
    class_names = manifest["classes"]
    if config["classes"] != class_names:
        raise ValueError(
            f"Expected data with the {len(config['classes'])} classes that the run was trained on: "
            f"{_some(config['classes'])}. Received {len(class_names)} classes: "
            f"{_some(class_names)} in {str(data_dir)!r}. Evaluate on data prepared the same way."
        )
    train_counts = config["train_class_counts"]
    shot_of_class = shots(train_counts, many=many_shot, few=few_shot)

    model = trained_model.load(run_dir)
    if model.output_shape[-1] != len(class_names):
        raise ValueError(
            f"Expected a model with {len(class_names)} outputs, one for each class of the data. "
            f"Received a model with {model.output_shape[-1]} outputs in {str(run_dir)!r}."
        )
    batches = _predict(model, data_dir, split, batch_size)
    multi_label = manifest.get("multi_label", False)
    about_classes = (class_names, train_counts, shot_of_class)
    if multi_label:
        entries = multi_label_measures.Entries.of_batches(batches)
        num_examples = entries.num_images
        measures = multi_label_measures.measure(entries, *about_classes)
    else:
        labels, logits, _ = zip(*batches, strict=True)
        num_examples = sum(map(len, labels))
        measures = measure(np.concatenate(labels), np.concatenate(logits), *about_classes)
    result = {
        "format": 1,
        "run": config,
        "history": history,
        "data": {"name": manifest["data"], "options": manifest["options"]},
        "split": split,
        **({"multi_label": True} if multi_label else {}),
        "num_examples": num_examples,
        "thresholds": {"many_shot": many_shot, "few_shot": few_shot},
        "num_classes_by_shot": {shot: shot_of_class.count(shot) for shot in SHOTS},
        **measures,
    }
    with files.new_directory(output_dir) as folder:
        files.write_json(folder / "metrics.json", result)
        pd.DataFrame(result["per_class"]).to_csv(folder / "per_class.csv", index=False)
        files.write_text(folder / "report.html", report_evaluation.page(result, gradient_density))
    return result


def measure(
    labels: np.ndarray,
    logits: np.ndarray,
    class_names: Sequence[str],
    train_counts: Sequence[int],
    shot_of_class: Sequence[str],
) -> dict[str, Any]:
    """All measures of a model's predictions, ready for JSON.

    Classes without an example in the split take no part in any mean over classes.

    Args:
        labels: Integer labels, `(num_examples,)`.
        logits: Model outputs, `(num_examples, num_classes)`.
        class_names: Name of each class, `(num_classes,)`.
        train_counts: Training samples of each class, `(num_classes,)`.
        shot_of_class: Shot of each class (see `gb_keras.metrics.shots`), `(num_classes,)`.

    Returns:
        The part of `metrics.json` from `metrics` on.

    Example:
        >>> result = measure(
        ...     np.array([0, 0, 1]), np.array([[2.0, 0], [0, 2], [0, 2]]),
        ...     ["cat", "dog"], [200, 3], ["many", "few"])
        >>> result["metrics"]["balanced_accuracy"], result["metrics"]["medium_shot_recall"]
        (0.75, None)
    """
    num_classes = len(class_names)
    test_counts = np.bincount(labels, minlength=num_classes)
    log_probabilities = _log_softmax(logits)
    num_invalid = int(np.isnan(log_probabilities).any(axis=1).sum())
    if num_invalid:
        unknown = [float("nan")] * num_classes
        return {
            "metrics": dict.fromkeys(METRICS),
            "per_class": _per_class(class_names, train_counts, test_counts, *[unknown] * 4),
            "confusion_matrix": None,
            "confused_pairs": [],
            "roc": None,
            "calibration": None,
            "warnings": [diverged(num_invalid, len(labels), "examples")],
        }
    predicted = log_probabilities.argmax(axis=1)
    present = test_counts > 0
    precision, recall, f1, _ = sklearn.metrics.precision_recall_fscore_support(
        labels, predicted, labels=np.arange(num_classes), zero_division=0
    )
    recall = np.where(present, recall, np.nan)
    f1 = np.where(present, f1, np.nan)
    answered = np.bincount(predicted, minlength=num_classes) > 0
    precision = np.where(answered, precision, np.nan)
    roc, class_auc = _roc(labels, np.exp(log_probabilities), present)
    calibration = _calibration(labels, logits)
    return {
        "metrics": _metrics(labels, log_probabilities, recall, f1, calibration, shot_of_class),
        "per_class": _per_class(
            class_names, train_counts, test_counts, recall, precision, f1, class_auc
        ),
        "confusion_matrix": (
            sklearn.metrics.confusion_matrix(
                labels, predicted, labels=np.arange(num_classes)
            ).tolist()
            if num_classes <= _MAX_CLASSES_OF_MATRIX
            else None
        ),
        "confused_pairs": _confused_pairs(labels, predicted, class_names, test_counts),
        "roc": roc,
        "calibration": calibration_bins(calibration),
        "warnings": [],
    }


def metrics(
    labels: np.ndarray, logits: np.ndarray, shot_of_class: Sequence[str]
) -> dict[str, float | None]:
    """The metrics of a model's predictions, without curves and tables.

    Args:
        labels: Integer labels, `(num_examples,)`.
        logits: Model outputs, finite, `(num_examples, num_classes)`.
        shot_of_class: Shot of each class (see `gb_keras.metrics.shots`), `(num_classes,)`.

    Returns:
        A value for each of `METRICS`, shares in [0, 1]; None where there is nothing to measure.

    Example:
        >>> values = metrics(np.array([0, 0, 1]), np.eye(2)[[0, 1, 1]], ["many", "few"])
        >>> values["balanced_accuracy"], values["few_shot_recall"]
        (0.75, 1.0)
    """
    log_probabilities = _log_softmax(logits)
    predicted = log_probabilities.argmax(axis=1)
    classes = np.arange(logits.shape[1])
    _, recall, f1, support = sklearn.metrics.precision_recall_fscore_support(
        labels, predicted, labels=classes, zero_division=0
    )
    recall, f1 = (np.where(support > 0, each, np.nan) for each in (recall, f1))
    calibration = _calibration(labels, logits)
    return _metrics(labels, log_probabilities, recall, f1, calibration, shot_of_class)


def _metrics(
    labels: np.ndarray,
    log_probabilities: np.ndarray,
    recall: np.ndarray,
    f1: np.ndarray,
    calibration: ExpectedCalibrationError,
    shot_of_class: Sequence[str],
) -> dict[str, float | None]:
    """`METRICS`, from recall and F1 of each class (NaN where it has no example)."""
    values = [
        sklearn.metrics.accuracy_score(labels, log_probabilities.argmax(axis=1)),
        mean(recall),
        mean(f1),
        *(mean(recall[np.array(shot_of_class) == shot]) for shot in SHOTS),
        -log_probabilities[np.arange(len(labels)), labels].mean(),
        calibration.result(),
    ]
    return dict(zip(METRICS, map(number, values), strict=True))


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(keras.ops.log_softmax(keras.ops.cast(logits, "float64")))


def _calibration(labels: np.ndarray, logits: np.ndarray) -> ExpectedCalibrationError:
    metric = ExpectedCalibrationError()
    for start in range(0, len(labels), 4096):
        part = slice(start, start + 4096)
        metric.update_state(labels[part], logits[part])
    return metric


def _read_run(
    run_dir: str | os.PathLike,
) -> tuple[dict[str, Any], dict[str, list], dict[str, list]]:
    missing = [
        name
        for name in ("model.keras", "config.json", "history.json")
        if not (Path(run_dir) / name).is_file()
    ]
    if missing:
        raise FileNotFoundError(
            f"Expected the folder of a finished training run. Received: {str(run_dir)!r}, which "
            f"has no {' and no '.join(missing)}. Train to the end first (an interrupted run goes "
            "on with resume=True, --resume)."
        )
    observed = Path(run_dir) / "gradient_density.json"
    return (
        files.read_json(Path(run_dir) / "config.json"),
        files.read_json(Path(run_dir) / "history.json"),
        files.read_json(observed) if observed.is_file() else {},
    )


def _check_split(manifest: dict[str, Any], split: str, data_dir: str | os.PathLike) -> None:
    splits = manifest["splits"]
    if split not in splits:
        raise ValueError(
            f"Expected split to be one of {list(splits)}. Received: split={split!r} of "
            f"{str(data_dir)!r}."
        )
    if not splits[split]["num_examples"]:
        raise ValueError(
            f"Expected a split with examples. Received: split={split!r} of {str(data_dir)!r}, "
            "which is empty. Prepare the data with a larger fraction for it."
        )


def _predict(
    model: keras.Model, data_dir: str | os.PathLike, split: str, batch_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
    """Labels, logits and weights, where there are some, of each batch of a split.

    Logits are `(batch_size, num_classes)`, and so are labels and weights of multi-label data; other
    labels are `(batch_size,)`.
    """
    height, width, channels = model.input_shape[1:]
    dataset = pipeline.load_split(
        data_dir,
        split,
        batch_size=batch_size,
        image_size=None if height is None or width is None else (height, width),
        channels=channels,
        shuffle=False,
        seed=0,
    )
    call = tf.function(lambda images: model(images, training=False), reduce_retracing=True)
    for images, labels, *weights in dataset:
        logits = tf.cast(call(images), "float32").numpy()
        yield labels.numpy(), logits, weights[0].numpy() if weights else None


def _per_class(
    class_names: Sequence[str],
    train_counts: Iterable[int],
    test_counts: Iterable[int],
    *measures: Iterable[float],
) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "train_count": int(train_count),
            "test_count": int(test_count),
            **dict(zip(("recall", "precision", "f1", "auc"), map(number, values), strict=True)),
        }
        for name, train_count, test_count, *values in zip(
            class_names, train_counts, test_counts, *measures, strict=True
        )
    ]


def _roc(
    labels: np.ndarray, probabilities: np.ndarray, present: np.ndarray
) -> tuple[dict[str, Any] | None, np.ndarray]:
    """One-vs-rest curves, averaged, and the area of each class (NaN where undefined)."""
    class_auc = np.full(len(present), np.nan)
    grid = np.linspace(0.0, 1.0, _MAX_ROC_POINTS - 1)
    heights = []
    # A class needs examples of itself and of others.
    for index in np.flatnonzero(present) if present.sum() > 1 else []:
        fpr, tpr, _ = sklearn.metrics.roc_curve(labels == index, probabilities[:, index])
        class_auc[index] = sklearn.metrics.auc(fpr, tpr)
        heights.append(np.interp(grid, fpr, tpr))
    if not heights:
        return None, class_auc
    macro = {
        "fpr": [0.0, *grid.tolist()],
        "tpr": [0.0, *np.mean(heights, axis=0).tolist()],
        "auc": mean(class_auc),
    }
    micro = None
    if probabilities.size <= _MAX_SCORES_OF_MICRO_ROC:
        one_hot = np.arange(probabilities.shape[1]) == labels[:, np.newaxis]
        fpr, tpr, thresholds = sklearn.metrics.roc_curve(one_hot.ravel(), probabilities.ravel())
        # The first point answers nothing: scikit-learn's infinity, which JSON does not know.
        thresholds = np.where(np.isinf(thresholds), 2.0, thresholds)
        length = fpr + tpr
        points = np.searchsorted(length, np.linspace(0.0, length[-1], _MAX_ROC_POINTS))
        points = np.unique(points)
        micro = {
            "fpr": fpr[points].tolist(),
            "tpr": tpr[points].tolist(),
            "thresholds": thresholds[points].tolist(),
            "auc": float(sklearn.metrics.auc(fpr, tpr)),
        }
    return {"macro": macro, "micro": micro}, class_auc


def _confused_pairs(
    labels: np.ndarray,
    predicted: np.ndarray,
    class_names: Sequence[str],
    test_counts: np.ndarray,
) -> list[dict[str, Any]]:
    """The most frequent mistakes, most frequent first."""
    wrong = labels != predicted
    pairs, counts = np.unique(
        np.stack([labels[wrong], predicted[wrong]], axis=1), axis=0, return_counts=True
    )
    return [
        {
            "label": class_names[pairs[index, 0]],
            "predicted": class_names[pairs[index, 1]],
            "count": int(counts[index]),
            "share": float(counts[index] / test_counts[pairs[index, 0]]),
        }
        for index in np.argsort(-counts, kind="stable")[:_NUM_PAIRS]
    ]


def _some(names: Sequence[str]) -> str:
    return json.dumps(names[:5], ensure_ascii=False)[:-1] + (", ...]" if len(names) > 5 else "]")
