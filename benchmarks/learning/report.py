"""The report of a comparison, from records alone: Markdown, a page, pictures."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from benchmarks.learning.suites import BASELINE, OURS
from benchmarks.learning.tables import Results, best_single_peer, goals, results, tuned_results
from gb_keras.metrics import SHOTS
from gb_keras.stages import files
from gb_keras.stages import report_figure as look

_MARK = {"win": "", "tie": "=", "loss": "!", None: ""}
_METRICS = {
    "balanced_accuracy": ("Balanced accuracy %, last epoch", "final", look.percent),
    "balanced_accuracy_best": ("Balanced accuracy %, best epoch", "best", look.percent),
    "accuracy": ("Accuracy %, last epoch", "final", look.percent),
    "negative_log_likelihood": ("Negative log likelihood, last epoch", "final", look.decimal),
    "expected_calibration_error": (
        "Expected calibration error %, last epoch",
        "final",
        look.percent,
    ),
    "mean_average_precision": ("Mean average precision %, last epoch", "final", look.percent),
}
_LESS_IS_BETTER = ("negative_log_likelihood", "expected_calibration_error")
_LEGEND = (
    "Mean over seeds, ± standard error. By a paired t-test at 95%: = no different from "
    f"{OURS}, ! better than {OURS}, no mark: worse. Bold: the best of a column."
)


def write(
    records: Sequence[Mapping[str, Any]], path: str | os.PathLike, tuned: bool = False
) -> str:
    """Write a report as Markdown and as a page.

    Args:
        records: Records, of our method and of its peers.
        path: Where to write, without `.md` and `.html`; reports that are there are replaced.
        tuned: Whether to show of each method the setting that is best in validation, instead of
            each setting by itself.

    Returns:
        The Markdown.

    Raises:
        ValueError: There are no records of our method.
    """
    found = tuned_results(records) if tuned else results(records)
    if OURS not in found.methods:
        raise ValueError(
            f"Expected records of {OURS} and its peers. Received records of: "
            f"{', '.join(found.methods)}. Run a suite to its end first."
        )
    text = markdown(found)
    files.write_text(f"{os.fspath(path)}.md", text)
    files.write_text(f"{os.fspath(path)}.html", page(found))
    return text


def markdown(found: Results) -> str:
    """Goals and tables as Markdown.

    Args:
        found: What to report.
    """
    lines = goal_table(found) if found.peers else []
    for metric, measured in _measured(found):
        lines += ["", f"### {_METRICS[metric][0]}", "", *table(measured, metric)]
    return "\n".join([*lines, "", _LEGEND, ""])


def _measured(found: Results) -> list[tuple[str, Results]]:
    """The metrics that were measured, each with the columns and methods that have it."""
    return [
        (metric, measured)
        for metric, (_, epoch, _) in _METRICS.items()
        if (measured := found.measured(metric.removesuffix("_best"), epoch)).columns
    ]


def goal_table(found: Results) -> list[str]:
    """The goals as the lines of a Markdown table.

    Args:
        found: What to report.
    """
    return [
        "| goal | wanted | reached | |",
        "|---|---|---|---|",
        *(
            f"| {goal.what} | {goal.wanted} | {goal.reached} | {'yes' if goal.met else '**no**'} |"
            for goal in goals(found)
        ),
    ]


def table(found: Results, metric: str) -> list[str]:
    """One metric as the lines of a Markdown table: a row for each method.

    Args:
        found: What to report.
        metric: A key of `_METRICS`, measured in each column.
    """
    rows = cells(found, metric)
    return [
        "| method | " + " | ".join(_heading(column) for column in found.columns) + " |",
        "|---|" + "---:|" * len(found.columns),
        *(
            f"| {label} | "
            + " | ".join(f"**{c['text']}**" if c["best"] else c["text"] for c in row)
            + " |"
            for label, row in zip(found.methods, rows, strict=True)
        ),
    ]


def cells(found: Results, metric: str) -> list[list[dict[str, Any]]]:
    """Text, mark and rank of each cell of a table, by method and column."""
    _, epoch, write_number = _METRICS[metric]
    name = metric.removesuffix("_best")
    best = {}
    for column in found.columns:
        means = {
            label: mean[0]
            for label in found.methods
            if (mean := found.mean(column, label, name, epoch)) is not None
        }
        choose = min if name in _LESS_IS_BETTER else max
        best[column] = choose(means, key=means.__getitem__)
    rows = []
    for label in found.methods:
        row = []
        for column in found.columns:
            mean = found.mean(column, label, name, epoch)
            text = look.UNKNOWN if mean is None else write_number(mean[0])
            if mean is not None and mean[1] is not None:
                text += f" ± {write_number(mean[1])}"
            tested = metric == "balanced_accuracy" and label != OURS
            marked = found.outcome(column, label) if tested else None
            row.append(
                {
                    "text": f"{text} {_MARK[marked]}".strip(),
                    "best": label == best[column],
                    "outcome": marked,
                }
            )
        rows.append(row)
    return rows


def page(found: Results) -> str:
    """The report as one HTML page that needs nothing but itself.

    Args:
        found: What to report.
    """
    compared = _compared(found)
    return look.render(
        "learning.html.j2",
        folder=Path(__file__).parent / "templates",
        num_seeds=max(len(cell) for cell in found.cells.values()),
        goals=goals(found),
        ours=OURS,
        tables=[
            {
                "title": _METRICS[metric][0],
                "columns": [_heading(column) for column in measured.columns],
                "methods": measured.methods,
                "rows": cells(measured, metric),
            }
            for metric, measured in _measured(found)
        ],
        legend=_LEGEND,
        differences=look.svg(
            _differences(found), "differences", "Balanced accuracy of ours less that of each peer."
        ),
        curves=look.svg(
            _curves(found, compared), "curves", "Balanced accuracy in validation by epoch."
        ),
        bars=(bars := _bars(found, compared))
        and look.svg(bars, "bars", "Recall of many, medium and few shots."),
    )


def _compared(found: Results) -> list[str]:
    """The methods of the pictures: ours, the baseline and the strongest peers."""
    best = [best_single_peer(found, columns) for columns in found.by_kind().values()]
    peers = [*best, "generalised_cross_entropy", "label_smoothing"]
    return list(dict.fromkeys(each for each in (OURS, BASELINE, *peers) if each in found.methods))


def _heading(column: tuple[str, str]) -> str:
    return f"{column[0]}, {column[1]}"


def _colour(label: str, compared: list[str]) -> str:
    if label == BASELINE:
        return look.colour("muted")
    return look.colour(look.RUN_COLOURS[[x for x in compared if x != BASELINE].index(label)])


def _differences(found: Results) -> Figure:
    """A map of who wins where: columns are regimes, rows are peers."""
    peers = [label for label in found.methods if label != OURS]
    points = np.full((len(peers), len(found.columns)), np.nan)
    for row, peer in enumerate(peers):
        for index, column in enumerate(found.columns):
            ours, theirs = (
                found.mean(column, label, "balanced_accuracy") for label in (OURS, peer)
            )
            if ours and theirs:
                points[row, index] = 100 * (ours[0] - theirs[0])
    with look.style():
        size = (3.4 + 0.85 * len(found.columns), 1.9 + 0.34 * len(peers))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        axes.grid(visible=False)
        for row, peer in enumerate(peers):
            for index, column in enumerate(found.columns):
                value = points[row, index]
                if np.isnan(value):
                    continue
                outcome = found.outcome(column, peer)
                tone = {"win": "accent", "loss": "error"}.get(outcome or "", "line")
                strength = 0.25 if outcome == "tie" else 0.2 + 0.5 * min(1.0, abs(value) / 20)
                axes.add_patch(
                    Rectangle(
                        (index - 0.48, row - 0.46),
                        0.96,
                        0.92,
                        color=look.colour(tone),
                        alpha=strength,
                        linewidth=0,
                    )
                )
                axes.text(index, row, f"{value:+.1f}", ha="center", va="center", fontsize=9)
        axes.set_xlim(-0.5, len(found.columns) - 0.5)
        axes.set_ylim(len(peers) - 0.5, -0.5)
        axes.set_xticks(
            range(len(found.columns)),
            [_heading(column) for column in found.columns],
            rotation=35,
            ha="right",
        )
        axes.set_yticks(range(len(peers)), peers)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_title("Points of balanced accuracy ahead of each peer (grey: no sure difference)")
    return figure


def _curves(found: Results, compared: list[str]) -> Figure:
    """Learning curves with a band of one standard error over seeds, a small picture each."""
    with look.style():
        figure, grid = _small_multiples(len(found.columns))
        for axes, column in zip(grid, found.columns, strict=False):
            for label in compared:
                cell = found.cells.get((column, label), {})
                if not cell:
                    continue
                curves = np.array([r["curves"]["balanced_accuracy"] for r in cell.values()])
                epochs = np.arange(1, curves.shape[1] + 1)
                mean = 100 * curves.mean(axis=0)
                colour = _colour(label, compared)
                axes.plot(epochs, mean, color=colour, label=label)
                if len(curves) > 1:
                    error = 100 * curves.std(axis=0, ddof=1) / np.sqrt(len(curves))
                    axes.fill_between(
                        epochs, mean - error, mean + error, color=colour, alpha=0.18, lw=0
                    )
            axes.set_title(_heading(column))
        _legend(figure, grid)
        figure.supylabel("balanced accuracy in validation, %, by epoch", fontsize=10)
    return figure


def _bars(found: Results, compared: list[str]) -> Figure | None:
    """Recall by shots, a small picture for each column that has shots to tell apart, if any."""

    def recalls(column: tuple[str, str], label: str) -> list[float | None]:
        return [
            None if mean is None else 100 * mean[0]
            for shot in SHOTS
            for mean in [found.mean(column, label, f"{shot}_shot_recall")]
        ]

    columns = [
        column
        for column in found.columns
        if sum(value is not None for value in recalls(column, OURS)) > 1
    ]
    if not columns:
        return None
    with look.style():
        figure, grid = _small_multiples(len(columns))
        for axes, column in zip(grid, columns, strict=False):
            width = 0.8 / len(compared)
            for number, label in enumerate(compared):
                values = np.array(recalls(column, label), dtype="float64")
                places = np.arange(len(SHOTS)) - 0.4 + (number + 0.5) * width
                axes.bar(places, values, width * 0.9, color=_colour(label, compared), label=label)
            axes.set_xticks(range(len(SHOTS)), SHOTS)
            axes.tick_params(axis="x", length=0)
            axes.grid(visible=False, axis="x")
            axes.set_ylim(0, 100)
            axes.set_title(_heading(column))
        _legend(figure, grid)
        figure.supylabel("recall on the test split, %", fontsize=10)
    return figure


def _small_multiples(number: int) -> tuple[Figure, list[Any]]:
    width = min(3, number)
    height = -(-number // width)
    figure = Figure(figsize=(3.6 * width, 2.5 * height + 0.6), layout="constrained")
    grid = figure.subplots(height, width, squeeze=False).ravel()
    for axes in grid[number:]:
        axes.set_visible(False)
    return figure, list(grid)


def _legend(figure: Figure, grid: list[Any]) -> None:
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5)
