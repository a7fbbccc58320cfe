"""The report of one evaluation: a single page that needs nothing but itself."""

import base64
import io
import json
from dataclasses import dataclass
from typing import Any

import markupsafe
import matplotlib.image
import numpy as np

from gb_keras.stages import report_evaluation_figures
from gb_keras.stages import report_figure as look

# A matrix with more classes is a picture without numbers.
_MAX_CLASSES_OF_TABLE = 20
_MAX_PIXELS = 300


@dataclass(frozen=True)
class _Kind:
    """What the report of one kind of data set shows; a metric comes with label and unit.

    Attributes:
        tiles: The numbers at the top, the first of them large.
        of_class: What is said of each class by shots and by training samples: its key, and that of
            the metric of a shot behind `many_shot_` and so on.
        of_shot: Heading of the part with the shots.
        columns: Columns of the table of classes, behind their names.
    """

    tiles: dict[str, tuple[str, str]]
    of_class: tuple[str, str]
    of_shot: str
    columns: dict[str, str]


_ONE_LABEL = _Kind(
    tiles={
        "balanced_accuracy": ("balanced accuracy: the mean recall of all classes", "%"),
        "accuracy": ("accuracy", "%"),
        "macro_f1": ("macro F1", "%"),
        "negative_log_likelihood": ("negative log likelihood", ""),
        "expected_calibration_error": ("expected calibration error", "%"),
    },
    of_class=("recall", "recall"),
    of_shot="Recall by training samples of the class",
    columns={
        "train_count": "training samples",
        "test_count": "{split} samples",
        "recall": "recall %",
        "precision": "precision %",
        "f1": "F1 %",
        "auc": "AUC %",
    },
)
_SEVERAL_LABELS = _Kind(
    tiles={
        "mean_average_precision": ("mean average precision of the classes", "%"),
        "micro_average_precision": ("average precision of all labels in one ranking", "%"),
        "mean_recall_at_90_precision": ("mean recall at a precision of 90 %", "%"),
        "balanced_accuracy": ("balanced accuracy", "%"),
        "expected_calibration_error": ("expected calibration error", "%"),
    },
    of_class=("average_precision", "average precision"),
    of_shot="Average precision by training samples of the class",
    columns={
        "train_count": "training samples",
        "test_count": "{split} samples with it",
        "test_absent_count": "without it",
        "average_precision": "average precision %",
        "recall_at_90_precision": "recall at 90 % precision",
        "recall": "recall %",
        "precision": "precision %",
        "f1": "F1 %",
    },
)


def page(result: dict[str, Any], gradient_density: dict[str, Any]) -> str:
    """The HTML page of an evaluation.

    Args:
        result: Content of `metrics.json`.
        gradient_density: Content of the run's `gradient_density.json`; empty where it has none.
    """
    config = result["run"]
    kind = _kind(result)
    return look.render(
        "evaluation.html.j2",
        result=result,
        tiles=_tiles(result, kind),
        of_shot=kind.of_shot,
        main=kind.of_class[0],
        columns={
            key: heading.format(split=result["split"]) for key, heading in kind.columns.items()
        },
        title=f"{config['loss']} on {result['data']['name']}",
        bars=_shot_bars(result),
        # Of several labels none is taken for another.
        confusion=kind is _ONE_LABEL,
        table=_confusion_table(result),
        heat_map=_heat_map(result),
        figures=report_evaluation_figures.figures(result, kind.of_class, gradient_density),
        settings={"Run": _settings(config), "Data": _settings(result["data"]["options"])},
        exact=json.dumps(config, indent=2, ensure_ascii=False),
    )


def _kind(result: dict[str, Any]) -> _Kind:
    return _SEVERAL_LABELS if result.get("multi_label") else _ONE_LABEL


def _tiles(result: dict[str, Any], kind: _Kind) -> list[dict[str, str]]:
    return [
        {
            "value": (look.percent if unit else look.decimal)(result["metrics"][key]),
            "label": label,
            "unit": unit,
        }
        for key, (label, unit) in kind.tiles.items()
    ]


def _settings(values: dict[str, Any]) -> dict[str, Any]:
    """What fits into a word or a number; where the files lay is no setting."""
    return {
        key: value
        for key, value in values.items()
        if not isinstance(value, (list, dict))
        and value is not None
        and key not in ("format", "data_dir", "log_dir")
    }


def _shot_bars(result: dict[str, Any]) -> list[dict[str, Any]]:
    many, few = result["thresholds"]["many_shot"], result["thresholds"]["few_shot"]
    ranges = {"many": f"> {many}", "medium": f"{few} to {many}", "few": f"< {few}"}
    measure, _ = _kind(result).of_class
    return [
        {
            "name": shot,
            "range": ranges[shot],
            "num_classes": result["num_classes_by_shot"][shot],
            "share": result["metrics"][f"{shot}_shot_{measure}"],
        }
        for shot in ranges
    ]


def _shares(result: dict[str, Any]) -> np.ndarray:
    """Confusion matrix with rows that sum to 1 (or 0 for a class without examples)."""
    matrix = np.array(result["confusion_matrix"], dtype="float64")
    return matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)


def _confusion_table(result: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Rows of the confusion matrix, where it is small enough to read."""
    matrix = result["confusion_matrix"]
    if matrix is None or len(matrix) > _MAX_CLASSES_OF_TABLE:
        return None
    names = [row["name"] for row in result["per_class"]]
    return [
        {
            "name": name,
            "cells": [
                {"count": count, "share": share, "predicted": predicted}
                for count, share, predicted in zip(counts, shares, names, strict=True)
            ],
        }
        for name, counts, shares in zip(names, matrix, _shares(result), strict=True)
    ]


def _heat_map(result: dict[str, Any]) -> markupsafe.Markup | None:
    """Confusion matrix of many classes as an image, frequent classes first."""
    matrix = result["confusion_matrix"]
    if matrix is None or len(matrix) <= _MAX_CLASSES_OF_TABLE:
        return None
    order = np.argsort([-row["train_count"] for row in result["per_class"]], kind="stable")
    shares = _shares(result)[order][:, order]
    # Several classes share a pixel; the largest share among them is shown, or mistakes vanish.
    size = -(-len(order) // _MAX_PIXELS)
    pad = -len(order) % size
    blocks = np.pad(shares, (0, pad)).reshape(len(shares) // size + (pad > 0), size, -1, size)
    strength = blocks.max(axis=(1, 3))
    right = np.eye(len(strength), dtype=bool)
    # Colour by opacity, so that the page's own background shows through in light and dark.
    pixels = np.empty((*strength.shape, 4))
    pixels[..., :3] = np.where(right[..., None], _rgb("sky"), _rgb("error"))
    pixels[..., 3] = np.sqrt(strength)
    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, pixels, format="png")
    return markupsafe.Markup(base64.b64encode(buffer.getvalue()).decode())


def _rgb(name: str) -> list[float]:
    value = look.colour(name)
    return [int(value[start : start + 2], 16) / 255 for start in (1, 3, 5)]
