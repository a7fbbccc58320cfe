"""The report of a comparison: a table and a picture, as a page, as Markdown and as a PNG."""

from pathlib import Path
from typing import Any

import matplotlib.ticker
import numpy as np
from matplotlib.figure import Figure

from gb_keras.metrics import SHOTS
from gb_keras.stages import report_figure as look

# key: (heading, written as, whether more is better)
COLUMNS = {
    "accuracy": ("accuracy %", look.percent, True),
    "balanced_accuracy": ("balanced accuracy %", look.percent, True),
    "macro_f1": ("macro F1 %", look.percent, True),
    "few_shot_recall": ("few-shot recall %", look.percent, True),
    "negative_log_likelihood": ("NLL", look.decimal, False),
    "expected_calibration_error": ("ECE %", look.percent, False),
}
# The same of data with several labels an image.
MULTI_LABEL_COLUMNS = {
    "mean_average_precision": ("mAP %", look.percent, True),
    "micro_average_precision": ("micro AP %", look.percent, True),
    "few_shot_average_precision": ("few-shot AP %", look.percent, True),
    "mean_recall_at_90_precision": ("recall at 90 % precision", look.percent, True),
    "balanced_accuracy": ("balanced accuracy %", look.percent, True),
    "expected_calibration_error": ("ECE %", look.percent, False),
}
_EPOCHS = "epochs to the baseline's best"
_DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)))


def table(result: dict[str, Any]) -> tuple[list[str], list[dict[str, Any]]]:
    """The comparison as text: headings, and a row of cells for each run.

    Args:
        result: Content of `comparison.json`.

    Returns:
        Headings, and rows with `name`, `baseline` (whether it is) and `cells` of `text`, `best`.
    """
    columns = MULTI_LABEL_COLUMNS if result.get("multi_label") else COLUMNS
    headings = ["run", *(heading for heading, _, _ in columns.values()), _EPOCHS]
    best = {}
    for key, (_, write, more_is_better) in columns.items():
        known = [value for run in result["runs"] if (value := run["metrics"][key]) is not None]
        # Runs that read the same are equally good.
        best[key] = write((max if more_is_better else min)(known)) if known else None
    epochs = [run["epochs_to_baseline_best"] for run in result["runs"]]
    fastest = min((epoch for epoch in epochs if epoch is not None), default=None)
    rows = []
    for run, epoch in zip(result["runs"], epochs, strict=True):
        cells = [
            {"text": text, "best": text == best[key]}
            for key, (_, write, _) in columns.items()
            for text in [write(run["metrics"][key])]
        ]
        unreached = "never" if result["baseline_best"] is not None else look.UNKNOWN
        cells.append(
            {
                "text": unreached if epoch is None else str(epoch),
                "best": epoch is not None and epoch == fastest,
            }
        )
        rows.append(
            {"name": run["name"], "baseline": run["name"] == result["baseline"], "cells": cells}
        )
    return headings, rows


def markdown(result: dict[str, Any]) -> str:
    """The comparison as a Markdown table, the best of each column in bold."""
    headings, rows = table(result)
    lines = [
        f"# Comparison on {_plain(result['data']['name'])}, {_plain(result['split'])} split",
        "",
        "| " + " | ".join(headings) + " |",
        "|" + "---|" + "---:|" * (len(headings) - 1),
    ]
    for row in rows:
        name = _plain(row["name"]) + (" (baseline)" if row["baseline"] else "")
        cells = [f"**{cell['text']}**" if cell["best"] else cell["text"] for cell in row["cells"]]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return "\n".join([*lines, ""])


def page(result: dict[str, Any]) -> str:
    """The comparison as one HTML page that needs nothing but itself."""
    headings, rows = table(result)
    for row, (colour, _) in zip(rows, _lines(result), strict=True):
        row["colour"] = colour
    return look.render(
        "comparison.html.j2",
        result=result,
        headings=headings,
        rows=rows,
        picture=look.svg(
            _figure(result),
            "comparison",
            "Left: balanced accuracy on validation data, epoch by epoch. Right: "
            f"{_of_shot(result)[1]} by shots.",
        ),
    )


def picture(result: dict[str, Any], path: Path) -> None:
    """Write the picture of a comparison as a PNG file."""
    look.png(_figure(result), path)


def _lines(result: dict[str, Any]) -> list[tuple[str, Any]]:
    """Colour and dash pattern of each run; the baseline is grey."""
    number = 0
    lines: list[tuple[str, Any]] = []
    for run in result["runs"]:
        if run["name"] == result["baseline"]:
            lines.append(("muted", "-"))
            continue
        turn, index = divmod(number, len(look.RUN_COLOURS))
        lines.append((look.RUN_COLOURS[index], _DASHES[turn % len(_DASHES)]))
        number += 1
    return lines


def _figure(result: dict[str, Any]) -> Figure:
    with look.style():
        figure = Figure(figsize=(10, 4.4), layout="constrained")
        curves, bars = figure.subplots(1, 2, width_ratios=[1.15, 1])
        _draw_curves(curves, result)
        _draw_bars(bars, result)
        handles, labels = curves.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


def _draw_curves(axes: Any, result: dict[str, Any]) -> None:
    longest = 2
    for run, (colour, dashes) in zip(result["runs"], _lines(result), strict=True):
        values = np.array(run["val_balanced_accuracy"], dtype="float64")
        longest = max(longest, len(values))
        epochs = np.arange(1, len(values) + 1)
        baseline = run["name"] == result["baseline"]
        axes.plot(
            epochs,
            values,
            color=look.colour(colour),
            linestyle=dashes,
            marker="o" if len(values) == 1 else None,
            label=run["name"] + (" (baseline)" if baseline else ""),
        )
        epoch = run["epochs_to_baseline_best"]
        if epoch is not None:
            axes.plot(epoch, values[epoch - 1], "o", color=look.colour(colour), clip_on=False)
    if result["baseline_best"] is not None:
        axes.axhline(
            result["baseline_best"],
            color=look.colour("muted"),
            linewidth=1,
            linestyle=(0, (4, 3)),
            label="best of the baseline",
        )
    axes.set(title="Balanced accuracy on validation data", xlabel="epoch")
    axes.set_xlim(1, longest)
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(8, integer=True))


def _draw_bars(axes: Any, result: dict[str, Any]) -> None:
    many, few = result["thresholds"]["many_shot"], result["thresholds"]["few_shot"]
    ranges = {"many": f"> {many}", "medium": f"{few} to {many}", "few": f"< {few}"}
    groups = [shot for shot in SHOTS if result["num_classes_by_shot"][shot]]
    width = 0.8 / len(result["runs"])
    measure, words = _of_shot(result)
    for number, (run, (colour, _)) in enumerate(zip(result["runs"], _lines(result), strict=True)):
        heights = [run["metrics"][f"{shot}_shot_{measure}"] for shot in groups]
        axes.bar(
            np.arange(len(groups)) - 0.4 + (number + 0.5) * width,
            np.array(heights, dtype="float64"),
            width * 0.9,
            color=look.colour(colour),
        )
    axes.set_xticks(
        np.arange(len(groups)), [f"{shot} shots\n{ranges[shot]} samples" for shot in groups]
    )
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")
    axes.set(title=f"{words.capitalize()} on the {result['split']} split", ylim=(0, 1))
    axes.set_xlim(-0.5, len(groups) - 0.5)


def _of_shot(result: dict[str, Any]) -> tuple[str, str]:
    """What tells the shots apart: as it is called in metrics, and in words."""
    if result.get("multi_label"):
        return "average_precision", "average precision"
    return "recall", "recall"


def _plain(name: str) -> str:
    """A name that means nothing to Markdown but itself."""
    special = str.maketrans({each: f"\\{each}" for each in "\\`*[]<>|#"})
    return " ".join(name.translate(special).split())
