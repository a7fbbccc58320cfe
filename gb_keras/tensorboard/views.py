"""What the page shows, as JSON objects: made from what the reader has read.

Each function answers one route of `plugin`; there the fields are described. Numbers that are not
finite become None.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from gb_keras.tensorboard import distribution, health, metadata
from gb_keras.tensorboard.reader import Run, Series, Statistic

MAX_POINTS = 500
# Numbers in one answer at most, so that it stays below 2 MiB.
_MAX_NUMBERS = 120_000
# Numbers of a class, and the kind of the vectors over all classes that hold them.
NUMBERS_OF_A_CLASS = {
    "count": "class_counts",
    "mean_norm": "mean_norms",
    "margin": "margins",
    "mean_weight": "mean_weights",
    "recall": "recalls",
}

# Reads kinds over steps, or the newest step alone; leaves out what there is not.
ReadSeries = Callable[[Sequence[str], bool], dict[str, Series]]
_CURVES = ("density", "weights", "loss", "base_loss", "noise_rate", "num_skipped", "num_epochs")
_HISTOGRAMS = ("histogram", "balanced_histogram", "histogram_classes", "histogram_quantiles")


def runs(read: dict[str, Run]) -> dict[str, Any]:
    """All runs with their statistics."""
    return {
        "version": metadata.VERSION,
        "runs": [
            {
                "run": name,
                "problems": run.problems[:10],
                "statistics": [_described(statistic) for statistic in run.statistics.values()],
            }
            for name, run in read.items()
        ],
    }


def _described(statistic: Statistic) -> dict[str, Any]:
    content = statistic.content
    density = statistic.kinds["density"]
    return {
        "name": content.statistic,
        "num_classes": content.num_classes,
        "bins": content.bins,
        "balanced": content.balanced,
        "multi_label": content.multi_label,
        "max_weight": content.max_weight,
        "density_exponent": content.density_exponent,
        "prior_strength": content.prior_strength,
        "last_step": density.max_step,
        "last_wall_time": density.max_wall_time,
    }


class StatisticView:
    """One statistic of one run, as the page asks for it.

    Args:
        run: Name of the run.
        statistic: The statistic.
        read: Reads its series.

    Raises:
        LookupError: Nothing of it can be read.
    """

    def __init__(self, run: str, statistic: Statistic, read: ReadSeries):
        self._run = run
        self._content = statistic.content
        self._listed = list(statistic.kinds)
        self._read_series = read
        self._series: dict[str, Series] = {}
        self._newest: dict[str, Series] = {}
        self._read(*_CURVES)
        if "density" not in self._series:
            raise LookupError(
                "Expected densities of (bins,) numbers. This log has none that can be read: it is "
                "damaged, or gb_keras did not write it."
            )
        self._density = self._series["density"]
        self._names: list[str] | None = None

    def _read(self, *kinds: str) -> None:
        """Read kinds at once, so that `at` finds them."""
        self._series |= self._read_series([k for k in kinds if k not in self._series], False)

    def read_at(self, step: int, *kinds: str) -> None:
        """Read what `at` needs of kinds at one logged step: vectors over many classes are long."""
        if step == self._density.steps[-1]:
            self._newest |= self._read_series(kinds, True)
        else:
            self._read(*kinds)

    @property
    def num_classes(self) -> int:
        """Number of classes of the statistic."""
        return self._content.num_classes

    def head(self) -> dict[str, Any]:
        """What each answer about the statistic begins with."""
        return {"run": self._run, "statistic": self._content.statistic}

    def names(self, classes: Iterable[int]) -> list[str]:
        """Names of classes; their number where no name is known."""
        if self._names is None:
            self._read("class_names")
            pages = self._series["class_names"].values if "class_names" in self._series else []
            self._names = [_text(name) for page in pages for name in page]
        return [self._names[index] if index < len(self._names) else str(index) for index in classes]

    def step(self, step: int | None) -> int:
        """The logged step that a step given by a user means: the last one not after it."""
        steps = self._density.steps
        if step is None:
            return int(steps[-1])
        return int(steps[max(int(np.searchsorted(steps, step, side="right")) - 1, 0)])

    def at(self, kind: str, step: int) -> np.ndarray | None:
        """The tensor of a kind at a step; None where there is none."""
        series = self._series.get(kind)
        if series is None and step == self._density.steps[-1]:
            series = self._newest.get(kind)
        return None if series is None else series.at(step)

    def _density_at(self, step: int) -> np.ndarray:
        density = self._density.at(step)
        assert density is not None  # The step is one of the density's own.
        return density

    def over_steps(self, max_steps: int) -> dict[str, Any]:
        """Density, weights and losses over steps."""
        steps, wall_times = self._sampled(max_steps)
        answer = {
            **self.head(),
            "bins": self._content.bins,
            "steps": steps.tolist(),
            "wall_times": wall_times.tolist(),
        }
        for kind in ("density", "weights"):
            answer[kind] = [_numbers(self.at(kind, step)) for step in steps]
        for kind in ("loss", "base_loss", "noise_rate"):
            answer[kind] = _numbers([scalar(self.at(kind, step)) for step in steps])
        answer["skipped"] = _numbers([scalar(self.at("num_skipped", step)) for step in steps])
        return answer

    def class_over_steps(self, index: int, max_steps: int) -> dict[str, Any]:
        """A class's own density over steps, and what else is known of it."""
        steps, wall_times = self._sampled(max_steps)
        self._read(*_HISTOGRAMS, *NUMBERS_OF_A_CLASS.values(), "class_names")
        answer = {
            **self.head(),
            "class": index,
            "name": self.names([index])[0],
            "bins": self._content.bins,
            "steps": steps.tolist(),
            "wall_times": wall_times.tolist(),
            "density": [_numbers(self._row("histogram", index, step)) for step in steps],
            "balanced": [_numbers(self._row("balanced_histogram", index, step)) for step in steps],
        }
        for name, kind in NUMBERS_OF_A_CLASS.items():
            vectors = [self.at(kind, step) for step in steps]
            answer[name] = _numbers([_entry(vector, index) for vector in vectors])
        return answer

    def _row(self, kind: str, index: int, step: int) -> np.ndarray | None:
        """A class's row of a histogram; None where it was not written."""
        classes, histogram = self.at("histogram_classes", step), self.at(kind, step)
        if classes is None or histogram is None:
            return None
        rows = np.flatnonzero(classes == index)
        return histogram[rows[0]] if len(rows) and rows[0] < len(histogram) else None

    def _sampled(self, max_steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Steps, evenly spread, the first and the last among them."""
        num_steps = len(self._density.steps)
        limit = max(2, min(max_steps, _MAX_NUMBERS // (2 * max(self._content.bins, 1))))
        chosen = np.unique(np.linspace(0, num_steps - 1, min(limit, num_steps)).round().astype(int))
        return self._density.steps[chosen], self._density.wall_times[chosen]

    def one_step(self, step: int | None) -> dict[str, Any]:
        """Everything about one step but the vectors over all classes."""
        step = self.step(step)
        self._read(*_HISTOGRAMS, "class_names")
        density, weights = self._density_at(step), self.at("weights", step)
        classes, histogram = self.at("histogram_classes", step), self.at("histogram", step)
        quantiles = self.at("histogram_quantiles", step)
        rows = []
        if classes is not None and histogram is not None:
            rows = [
                {
                    "class": int(index),
                    "name": name,
                    "density": _numbers(row),
                    "balanced": _numbers(self._row("balanced_histogram", index, step)),
                }
                for index, name, row in zip(classes, self.names(classes), histogram, strict=False)
            ]
        index = int(np.searchsorted(self._density.steps, step))
        return {
            **self.head(),
            "step": step,
            "wall_time": float(self._density.wall_times[index]),
            "num_classes": self._content.num_classes,
            "bins": self._content.bins,
            "density": _numbers(density),
            "weights": _numbers(weights),
            "sentence": distribution.in_words(density, weights, self._content.balanced),
            "rows": rows,
            "quantiles": None
            if quantiles is None
            else {
                "levels": list(metadata.QUANTILE_LEVELS),
                "share": [_numbers(level) for level in quantiles],
            },
        }

    def findings(self) -> dict[str, Any]:
        """The state of health at the last step."""
        step = self.step(None)
        self._read(*_HISTOGRAMS, "density_weights", "class_counts", "class_names")
        self.read_at(step, *metadata.VECTORS)
        # Of version 1 all weights are by density.
        by_density = "weights" if self._content.version == 1 else "density_weights"
        density, weights = self._density_at(step), self.at(by_density, step)
        histogram, classes = self.at("histogram", step), self.at("histogram_classes", step)
        if histogram is None or classes is None:
            histogram, classes = np.zeros((0, len(density))), np.zeros(0, int)
        findings = []
        counts = self._series.get("class_counts")
        damaged = self._damaged()
        num_skipped = self._skipped_of_late()
        if num_skipped:
            findings.append(health.all_skipped(num_skipped))
        else:
            findings.append(health.not_balanced(self._content.balanced))
            # What is damaged was taken for 0, of which nothing follows.
            if counts is not None and "class_counts" not in damaged:
                findings.append(health.unseen(counts.values[-1], counts.earlier))
            skipped = scalar(self.at("num_skipped", step))
            if skipped is not None and "num_skipped" not in damaged:
                seen = 0.0 if counts is None else float(counts.values[-1].sum())
                findings.append(health.skipped(skipped, seen))
            if weights is not None:
                findings.append(health.capped(density, weights, self._content.max_weight))
            noise_rate = scalar(self.at("noise_rate", step))
            if "noise_rate" in damaged:
                noise_rate = None
            if density.sum() > 0:
                noise = health.noise(
                    density,
                    histogram,
                    classes,
                    noise_rate,
                    self._content.multi_label,
                    self._content.num_classes,
                    self._density.earlier if len(self._density.steps) > 2 else None,
                )
                findings += [noise, health.crowded(density)]
        findings.append(health.damaged(damaged))
        severities = ("warning", "info", "ok")
        findings.sort(key=lambda finding: severities.index(finding.severity))
        return {
            **self.head(),
            "step": step,
            "findings": [self._finding(finding) for finding in findings],
        }

    def _damaged(self) -> list[str]:
        """Kinds that are not whole, of those that are read."""
        read = {**self._newest, **self._series}
        return [kind for kind in self._listed if kind not in read or not read[kind].whole]

    def _skipped_of_late(self) -> float:
        """Samples that were kept out since the last step but one, if there were no others."""
        counts, skipped = self._series.get("class_counts"), self._series.get("num_skipped")
        if counts is None or skipped is None:
            return 0.0
        before = counts.values[-2] if len(counts.values) > 1 else np.zeros_like(counts.values[-1])
        num_before = float(skipped.values[-2]) if len(skipped.values) > 1 else 0.0
        # Equal, not fewer: a plain model counts anew where it is trained again.
        if np.array_equal(before, counts.values[-1]):
            return max(float(skipped.values[-1]) - num_before, 0.0)
        return 0.0

    def _finding(self, finding: health.Finding) -> dict[str, Any]:
        names = self.names([index for index, _ in finding.classes])
        return {
            "kind": finding.kind,
            "severity": finding.severity,
            "title": finding.title,
            "text": finding.text,
            "advice": finding.advice,
            "classes": [
                {"class": index, "name": name, "value": number(value)}
                for (index, value), name in zip(finding.classes, names, strict=True)
            ],
            "number_of_class": finding.number_of_class,
            "num_left_out": finding.num_left_out,
        }


def _text(name: Any) -> str:
    text = name.decode("utf-8", errors="replace") if isinstance(name, bytes) else str(name)
    return metadata.cut(text)


def scalar(value: np.ndarray | None) -> float | None:
    """The number in a tensor that holds one.

    Args:
        value: The tensor, or None.
    """
    return None if value is None or value.size != 1 else float(value.reshape(()))


def _entry(vector: np.ndarray | None, index: int) -> float | None:
    return None if vector is None or index >= vector.size else float(vector.ravel()[index])


def number(value: Any) -> float | None:
    """A number in the six digits that matter of a float32; None where it is not finite.

    Args:
        value: The number, or None.
    """
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")


def _numbers(values: Any) -> list[float | None] | None:
    return None if values is None else [number(value) for value in values]
