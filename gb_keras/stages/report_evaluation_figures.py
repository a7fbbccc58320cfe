"""The drawings in the report of one evaluation."""

from typing import Any

import matplotlib.ticker
import numpy as np
from matplotlib.figure import Figure

from gb_keras.stages import report_figure as look


def figures(
    result: dict[str, Any], of_class: tuple[str, str], gradient_density: dict[str, Any]
) -> list[dict[str, Any]]:
    """The drawings that there is something to show in, each with title, caption and SVG.

    Args:
        result: Content of `metrics.json`.
        of_class: What is drawn of each class: its key in `per_class`, and its name.
        gradient_density: Content of the run's `gradient_density.json`; empty where it has none.
    """
    with look.style():
        drawn = (
            _by_count(result, *of_class),
            _reliability(result),
            _roc(result),
            _learning_curves(result["history"]),
            *_of_gradients(gradient_density),
        )
    return [figure for figure in drawn if figure is not None]


def _figure(result: Figure, name: str, title: str, caption: str) -> dict[str, Any]:
    return {
        "title": title,
        "caption": caption,
        "svg": look.svg(result, name, f"{title}. {caption}"),
    }


def _canvas() -> tuple[Figure, Any]:
    figure = Figure(figsize=(5.2, 3.7), layout="constrained")
    return figure, figure.add_subplot()


def _by_count(result: dict[str, Any], measure: str, words: str) -> dict[str, Any] | None:
    """Recall or average precision of each class against its training samples."""
    rows = [row for row in result["per_class"] if row[measure] is not None]
    if not rows:
        return None
    figure, axes = _canvas()
    counts = [row["train_count"] for row in rows]
    # The logarithm has no place for a class that was never seen; it is shown left of 1.
    axes.scatter(
        np.maximum(counts, 0.5),
        [row[measure] for row in rows],
        s=34 if len(rows) <= 50 else 12,
        color=look.colour("accent"),
        alpha=0.75,
        linewidths=0,
        clip_on=False,
    )
    axes.set_xscale("log")
    axes.set_xlim(max(min(counts), 0.5) / 1.5, max(counts) * 1.5)
    low, high = axes.get_xlim()
    for threshold in result["thresholds"].values():
        if low < threshold < high:
            axes.axvline(threshold, color=look.colour("muted"), linewidth=1, linestyle=(0, (4, 3)))
    axes.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda x, _: f"{x:,g}"))
    axes.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    if high / low < 10:
        axes.xaxis.set_minor_formatter(matplotlib.ticker.FuncFormatter(lambda x, _: f"{x:,g}"))
    axes.set(ylim=(0, 1), xlabel="training samples of the class", ylabel=words)
    return _figure(
        figure,
        "recall",
        f"{words.capitalize()} against training samples",
        "One dot for each class. Dashed: the borders between few, medium and many shots.",
    )


def _reliability(result: dict[str, Any]) -> dict[str, Any] | None:
    bins = result["calibration"]
    if bins is None:
        return None
    figure = Figure(figsize=(5.2, 3.7), layout="constrained")
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    width = 1 / len(bins)
    centres = (np.arange(len(bins)) + 0.5) * width
    accuracy = np.array([np.nan if each["accuracy"] is None else each["accuracy"] for each in bins])
    confidence = np.array(
        [np.nan if each["confidence"] is None else each["confidence"] for each in bins]
    )
    axes.bar(
        centres, accuracy, width * 0.88, color=look.colour("accent"), alpha=0.75, label="accuracy"
    )
    axes.hlines(
        confidence,
        centres - width * 0.44,
        centres + width * 0.44,
        color=look.colour("error"),
        linewidth=2.5,
        label="confidence",
    )
    axes.plot([0, 1], [0, 1], color=look.colour("muted"), linewidth=1, linestyle=(0, (4, 3)))
    axes.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy")
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, borderaxespad=0)
    counts = [each["count"] for each in bins]
    below.bar(centres, counts, width * 0.88, color=look.colour("muted"))
    below.set(xlabel="confidence", ylabel="examples")
    below.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(2, integer=True))
    return _figure(
        figure,
        "reliability",
        "Reliability",
        "A calibrated model is right as often as it is confident: each bar ends at its line.",
    )


def _roc(result: dict[str, Any]) -> dict[str, Any] | None:
    if result["roc"] is None:
        return None
    figure, axes = _canvas()
    for name, colour in (("macro", "accent"), ("micro", "amber")):
        curve = result["roc"][name]
        if curve is not None:
            label = f"{name} average, area {curve['auc']:.4f}"
            axes.plot(curve["fpr"], curve["tpr"], color=look.colour(colour), label=label)
    axes.plot([0, 1], [0, 1], color=look.colour("muted"), linewidth=1, linestyle=(0, (4, 3)))
    axes.set(
        xlim=(-0.01, 1), ylim=(0, 1.01), xlabel="false positive rate", ylabel="true positive rate"
    )
    axes.legend(loc="lower right")
    return _figure(
        figure,
        "roc",
        "ROC, one class against the rest",
        "Macro: every class counts the same. Micro: every answer counts the same.",
    )


def _learning_curves(history: dict[str, list[float | None]]) -> dict[str, Any] | None:
    # A balanced model's `loss` is weighted; its base loss compares with the validation loss.
    loss = "base_loss" if "base_loss" in history else "loss"
    pairs = {
        "loss": {"training": loss, "validation": "val_loss"},
        "balanced accuracy": {
            "training": "balanced_accuracy",
            "validation": "val_balanced_accuracy",
        },
    }
    pairs = {
        title: {label: key for label, key in keys.items() if history.get(key)}
        for title, keys in pairs.items()
    }
    pairs = {title: keys for title, keys in pairs.items() if keys}
    if not pairs:
        return None
    figure = Figure(figsize=(5.2, 3.7), layout="constrained")
    for axes, (title, keys) in zip(
        figure.subplots(1, len(pairs), squeeze=False)[0], pairs.items(), strict=True
    ):
        for label, key in keys.items():
            values = np.array(history[key], dtype="float64")
            axes.plot(
                np.arange(1, len(values) + 1),
                values,
                color=look.colour("accent" if label == "validation" else "amber"),
                marker="o" if len(values) < 10 else None,
                markersize=4,
                label=label,
            )
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(6, integer=True))
        axes.legend()
    return _figure(
        figure,
        "learning",
        "Learning curves",
        "Loss (without balance, where the run has one) and balanced accuracy, epoch by epoch.",
    )


def _of_gradients(gradient_density: dict[str, Any]) -> list[dict[str, Any] | None]:
    """Norms and weights; of several labels those of positives, then those of negatives."""
    parts = gradient_density if "positives" in gradient_density else {"": gradient_density}
    drawn = ((part, sign) for sign, part in parts.items())
    return [draw(*each) for each in drawn for draw in (_gradient_norms, _weights)]


def _of(sign: str) -> str:
    return f" of {sign}" if sign else ""


def _gradient_norms(gradient_density: dict[str, Any], sign: str) -> dict[str, Any] | None:
    """Samples by gradient norm over steps, as the overview of the TensorBoard page shows them."""
    steps = gradient_density.get("steps")
    if not steps:
        return None
    density = np.array(gradient_density["density"])
    shares = density / np.maximum(density.sum(axis=1, keepdims=True), 1e-9)
    figure, axes = _canvas()
    # A picture inside of the figure: a mesh would be an element for each bin and step.
    image = axes.imshow(
        np.sqrt(shares.T),
        aspect="auto",
        origin="lower",
        extent=(0, steps[-1], 0, 1),
        cmap="viridis",
        interpolation="nearest",
        vmin=0,
    )
    axes.grid(visible=False)
    axes.set(xlabel="step", ylabel="gradient norm: easy to wrong")
    ticks = [share for share in (0.01, 0.05, 0.2, 0.5, 1.0) if share <= shares.max()]
    bar = figure.colorbar(image, ticks=np.sqrt(ticks), label="share of the samples")
    bar.ax.set_yticklabels([f"{share:.0%}" for share in ticks])
    bar.outline.set_visible(False)
    return _figure(
        figure,
        f"norms{sign}",
        f"Gradient norms{_of(sign)} while training",
        "Norm 0: learned. Norm 1: taken for another class with certainty; a bump that stays there "
        "is a sign of wrong labels.",
    )


def _weights(gradient_density: dict[str, Any], sign: str) -> dict[str, Any] | None:
    """Samples and their mean weights by gradient norm at the last step."""
    if not gradient_density.get("steps"):
        return None
    density = np.array(gradient_density["density"][-1])
    weights = np.array(gradient_density["weights"][-1], dtype="float64")
    centres = (np.arange(len(density)) + 0.5) / len(density)
    figure, axes = _canvas()
    shares = density / max(density.sum(), 1e-9)
    axes.bar(centres, shares, 0.9 / len(density), color=look.colour("accent"), alpha=0.6)
    axes.set(xlim=(0, 1), xlabel="gradient norm", ylabel="share of the samples")
    axes.set_yscale("symlog", linthresh=1e-3)
    axes.yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda y, _: f"{100 * y:g} %"))
    right = axes.twinx()
    right.plot(centres, weights, color=look.colour("error"), drawstyle="steps-mid")
    right.set_ylabel("mean weight of a sample", color=look.colour("error"))
    right.set_ylim(bottom=0)
    right.grid(visible=False)
    return _figure(
        figure,
        f"weights{sign}",
        f"Density and weight{_of(sign)} at the last step",
        "Bars: samples by gradient norm, on a logarithmic scale. Line: the mean weight of a sample "
        "in the loss; 1 for a plain one.",
    )
