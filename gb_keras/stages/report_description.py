"""The description of a data set: a page, and a few lines for the terminal."""

from typing import Any

import matplotlib.ticker
import numpy as np
from matplotlib.figure import Figure

from gb_keras.metrics import shots
from gb_keras.stages import report_figure as look


def page(result: dict[str, Any], pictures: dict[str, str]) -> str:
    """The HTML page of a description.

    Args:
        result: Content of `description.json`.
        pictures: Base64 PNG by the name of an image, of those that are shown.
    """
    with look.style():
        figure = _counts(result)
    splits = list(result["splits"])
    rows = [
        {
            "name": name,
            "counts": [result["splits"][split]["class_counts"][index] for split in splits],
        }
        for index, name in enumerate(result["classes"])
    ]
    rows.sort(key=lambda row: -row["counts"][0])
    return look.render(
        "description.html.j2",
        result=result,
        lines=lines(result),
        splits=splits,
        rows=rows,
        pictures=pictures,
        counts=look.svg(
            figure, "counts", "Training images of each class, from the most to the least frequent."
        ),
    )


def lines(result: dict[str, Any]) -> dict[str, str]:
    """What there is to say, by its name."""
    counts = result["splits"]["train"]["class_counts"]
    of_shot = shots(counts)
    factor = result["imbalance_factor"]
    said = {split: f"{about['num_examples']:,} images" for split, about in result["splits"].items()}
    of_image = ", any number an image" if result["multi_label"] else ""
    said["classes"] = f"{len(counts):,}{of_image}"
    said["images of a class in train"] = (
        f"{min(counts):,} to {max(counts):,}, median {int(np.median(counts)):,}"
    )
    said["imbalance factor"] = look.UNKNOWN if factor is None else f"{factor:,.1f}"
    said["many, medium and few shots"] = ", ".join(
        f"{of_shot.count(shot):,}" for shot in ("many", "medium", "few")
    )
    for name in ("heights", "widths"):
        if result[name] is not None:
            least, median, most = result[name]
            spread = f"{least:,} to {most:,} pixels, median {median:,}"
            said[name] = spread if least < most else f"{least:,} pixels"
    said["broken"] = f"{len(result['broken']):,} images"
    for split, reasons in result["left_out"].items():
        if reasons:
            said[f"left out of {split}"] = ", ".join(
                f"{count:,} {reason}" for reason, count in reasons.items()
            )
    said["look alike"] = (
        f"{result['num_duplicates']:,} images more than one of a kind, in "
        f"{result['num_duplicate_groups']:,} groups"
    )
    said["labels that disagree"] = f"{result['num_conflicts']:,} of these groups"
    said["in several splits"] = f"{result['num_leaks']:,} of these groups"
    return said


def _counts(result: dict[str, Any]) -> Figure:
    """Images of each class, from the most to the least frequent, on a logarithmic scale."""
    counts = np.array(result["splits"]["train"]["class_counts"])
    order = np.argsort(-counts, kind="stable")
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    axes = figure.add_subplot()
    ranks = np.arange(1, len(counts) + 1)
    # The logarithm has no place for a class without images; its bar has no height.
    if len(counts) <= 60:
        axes.bar(ranks, counts[order], 0.8, color=look.colour("accent"), alpha=0.75)
    else:
        axes.fill_between(ranks, counts[order], step="mid", color=look.colour("accent"), alpha=0.75)
    if len(counts) <= 30:
        names = [result["classes"][index] for index in order]
        names = [name if len(name) <= 18 else f"{name[:17]}…" for name in names]
        axes.set_xticks(ranks, names)
        if max(map(len, names)) > 3:
            axes.tick_params(axis="x", rotation=45)
            for label in axes.get_xticklabels():
                label.set_horizontalalignment("right")
        axes.tick_params(axis="x", length=0)
    else:
        axes.set_xlabel("classes, the most frequent first")
        axes.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axes.grid(visible=False, axis="x")
    axes.set_yscale("log")
    axes.set_ylim(0.5, max(counts.max(initial=1), 1) * 2)
    axes.set_xlim(0.4, len(counts) + 0.6)
    axes.yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda y, _: f"{y:,g}"))
    axes.set_ylabel("training images")
    return figure
