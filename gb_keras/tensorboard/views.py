"""What the page shows, as JSON objects: made from what the reader has read.

Each function answers one route of `plugin`; there the fields are described. Numbers that are not
finite become None.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from gb_keras.tensorboard import health, metadata
from gb_keras.tensorboard.reader import Run, Series, Statistic

MAX_POINTS = 500
# Numbers in one answer at most, so that it stays below 2 MiB.
_MAX_NUMBERS = 120_000
COLUMNS = {
    "count": "class_counts",
    "mass": None,
    "mass_positive": "mass_positive",
    "mass_negative": "mass_negative",
    "positive_share": None,
    "mean_norm": "mean_norms",
    "margin": "margins",
    "mean_weight": "mean_weights",
    "recall": "recalls",
}

# Reads kinds over steps, or the newest step alone; leaves out what there is not.
ReadSeries = Callable[[Sequence[str], bool], dict[str, Series]]
_CURVES = ("density", "weights", "loss", "base_loss", "num_skipped", "num_epochs")
_HISTOGRAMS = ("histogram", "histogram_classes", "histogram_quantiles")
_PER_CLASS = ("class_counts", "mean_norms", "margins", "mean_weights", "recalls")


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

    def _read_newest(self, *kinds: str) -> None:
        """Read the newest step of kinds: vectors over many classes are long."""
        self._newest |= self._read_series(kinds, True)

    @property
    def num_classes(self) -> int:
        """Number of classes of the statistic."""
        return self._content.num_classes

    def _head(self) -> dict[str, Any]:
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

    def _density_and_weights(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Of a logged step; weights are 1 where none were written."""
        density, weights = self._density.at(step), self.at("weights", step)
        assert density is not None  # The step is one of the density's own.
        return density, np.ones_like(density) if weights is None else weights

    def over_steps(self, max_steps: int) -> dict[str, Any]:
        """Density, weights and losses over steps."""
        steps, wall_times = self._sampled(max_steps)
        answer = {
            **self._head(),
            "bins": self._content.bins,
            "steps": steps.tolist(),
            "wall_times": wall_times.tolist(),
        }
        for kind in ("density", "weights"):
            answer[kind] = [_numbers(self.at(kind, step)) for step in steps]
        for key, kind in (("loss", "loss"), ("base_loss", "base_loss"), ("skipped", "num_skipped")):
            answer[key] = _numbers([_scalar(self.at(kind, step)) for step in steps])
        return answer

    def class_over_steps(self, index: int, max_steps: int) -> dict[str, Any]:
        """A class's own density over steps, and what else is known of it."""
        steps, wall_times = self._sampled(max_steps)
        self._read(*_HISTOGRAMS, *_PER_CLASS, "class_names")
        answer = {
            **self._head(),
            "class": index,
            "name": self.names([index])[0],
            "bins": self._content.bins,
            "steps": steps.tolist(),
            "wall_times": wall_times.tolist(),
            "density": [_numbers(self._row(index, step)) for step in steps],
            "weights": [_numbers(self.at("weights", step)) for step in steps],
        }
        for column in ("count", "mean_norm", "margin", "mean_weight", "recall"):
            vectors = [self.at(str(COLUMNS[column]), step) for step in steps]
            answer[column] = _numbers([_entry(vector, index) for vector in vectors])
        return answer

    def _row(self, index: int, step: int) -> np.ndarray | None:
        classes, histogram = self.at("histogram_classes", step), self.at("histogram", step)
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
        density, weights = self._density_and_weights(step)
        classes, histogram = self.at("histogram_classes", step), self.at("histogram", step)
        quantiles = self.at("histogram_quantiles", step)
        rows = []
        if classes is not None and histogram is not None:
            rows = [
                {"class": int(index), "name": name, "density": _numbers(row)}
                for index, name, row in zip(classes, self.names(classes), histogram, strict=False)
            ]
        index = int(np.searchsorted(self._density.steps, step))
        return {
            **self._head(),
            "step": step,
            "wall_time": float(self._density.wall_times[index]),
            "num_classes": self._content.num_classes,
            "bins": self._content.bins,
            "density": _numbers(density),
            "weights": _numbers(weights),
            "sentence": health.in_words(density, weights, self._content.balanced),
            "rows": rows,
            "quantiles": None
            if quantiles is None
            else {
                "levels": list(metadata.QUANTILE_LEVELS),
                "share": [_numbers(level) for level in quantiles],
            },
        }

    def columns(self, step: int) -> dict[str, np.ndarray]:
        """The columns of the table of classes that are known at a step, `(num_classes,)` each."""
        vectors = [kind for kind in COLUMNS.values() if kind is not None]
        if step == self._density.steps[-1]:
            self._read_newest(*vectors)
        else:
            self._read(*vectors)
        found: dict[str, np.ndarray] = {}
        for column, kind in COLUMNS.items():
            vector = None if kind is None else self.at(kind, step)
            if vector is not None:
                found[column] = vector
        if "mass_positive" in found and "mass_negative" in found:
            mass = found["mass_positive"] + found["mass_negative"]
            found["mass"] = mass
            found["positive_share"] = np.divide(
                found["mass_positive"], mass, out=np.full_like(mass, np.nan), where=mass > 0
            )
        return {column: found[column] for column in COLUMNS if column in found}

    def table(
        self,
        step: int | None,
        *,
        sort: str = "count",
        descending: bool = True,
        page: int = 1,
        page_size: int = 50,
        search: str = "",
        many: float = 100,
        few: float = 20,
    ) -> dict[str, Any]:
        """A page of the table of classes."""
        step = self.step(step)
        columns = self.columns(step)
        num_classes = self._content.num_classes
        order = self._order(columns, sort, descending)
        if search:
            names = self.names(range(num_classes))
            wanted = search.casefold()
            order = np.array(
                [i for i in order if wanted in names[i].casefold() or wanted == str(i)], int
            )
        num_pages = max(1, math.ceil(len(order) / page_size))
        page = min(page, num_pages)
        shown = order[(page - 1) * page_size : page * page_size]
        groups = self._groups(columns, step, many, few)
        rows = [
            {
                "class": int(index),
                "name": name,
                "group": groups[index],
                **dict.fromkeys(COLUMNS),
                **{column: _number(values[index]) for column, values in columns.items()},
            }
            for index, name in zip(shown, self.names(shown), strict=True)
        ]
        return {
            **self._head(),
            "step": step,
            "num_classes": num_classes,
            "matching": len(order),
            "page": page,
            "page_size": page_size,
            "num_pages": num_pages,
            "columns": ["class", "name", "group", *columns],
            "rows": rows,
        }

    def _order(self, columns: dict[str, np.ndarray], sort: str, descending: bool) -> np.ndarray:
        """Classes sorted by a column, unknown values last, equal ones by class."""
        num_classes = self._content.num_classes
        if sort == "class":
            order = np.arange(num_classes)
            return order[::-1] if descending else order
        if sort == "name":
            names = self.names(range(num_classes))
            return np.array(
                sorted(range(num_classes), key=lambda i: names[i].casefold(), reverse=descending)
            )
        # Groups are by count.
        values = columns.get("count" if sort == "group" else sort)
        if values is None:
            return np.arange(num_classes)
        keys = np.nan_to_num(-values if descending else values, nan=np.inf, posinf=np.inf)
        return np.argsort(keys, kind="stable")

    def _groups(
        self, columns: dict[str, np.ndarray], step: int, many: float, few: float
    ) -> list[str]:
        """The group of each class by its number of training samples."""
        counts = columns.get("count")
        if counts is None:
            return ["medium"] * self._content.num_classes
        # Counted over all epochs so far; the thresholds are on the samples of one.
        counts = counts / max(_scalar(self.at("num_epochs", step)) or 1.0, 1.0)
        return np.select([counts > many, counts < few], ["many", "few"], "medium").tolist()

    def ranking(
        self, step: int | None, column: str, order_by: str, many: float = 100, few: float = 20
    ) -> dict[str, Any]:
        """A column over all classes in the order of another, in at most `MAX_POINTS` points."""
        step = self.step(step)
        columns = self.columns(step)
        points = []
        if column in columns:
            order = self._order(columns, order_by, descending=True)
            groups = self._groups(columns, step, many, few)
            num_points = min(MAX_POINTS, len(order))
            rank = 0
            for bucket in np.array_split(order, num_points):
                values = columns[column][bucket]
                known = values[np.isfinite(values)]
                single = int(bucket[0]) if len(bucket) == 1 else None
                points.append(
                    {
                        "rank": rank,
                        "num_classes": len(bucket),
                        "min": _number(known.min()) if len(known) else None,
                        "mean": _number(known.mean()) if len(known) else None,
                        "max": _number(known.max()) if len(known) else None,
                        "class": single,
                        "name": None if single is None else self.names([single])[0],
                        "group": groups[bucket[len(bucket) // 2]],
                    }
                )
                rank += len(bucket)
        return {
            **self._head(),
            "step": step,
            "column": column,
            "order_by": order_by,
            "points": points,
        }

    def findings(self) -> dict[str, Any]:
        """The state of health at the last step."""
        step = self.step(None)
        self._read(*_HISTOGRAMS, "class_counts", "class_names")
        density, weights = self._density_and_weights(step)
        histogram, classes = self.at("histogram", step), self.at("histogram_classes", step)
        if histogram is None or classes is None:
            histogram, classes = np.zeros((0, len(density))), np.zeros(0, int)
        findings = [health.not_balanced(self._content.balanced)]
        counts = self._series.get("class_counts")
        if counts is not None:
            # Over the last third of what was logged.
            earlier = counts.values[(2 * (len(counts.steps) - 1)) // 3]
            findings.append(health.unseen(counts.values[-1], earlier))
        skipped = _scalar(self.at("num_skipped", step))
        if skipped is not None:
            seen = 0.0 if counts is None else float(counts.values[-1].sum())
            findings.append(health.skipped(skipped, seen))
        findings += [
            health.noise(density, histogram, classes),
            health.capped(density, weights, self._content.max_weight),
            health.crowded(density),
        ]
        severities = ("warning", "info", "ok")
        findings.sort(key=lambda finding: severities.index(finding.severity))
        return {
            **self._head(),
            "step": step,
            "findings": [self._finding(finding) for finding in findings],
        }

    def _finding(self, finding: health.Finding) -> dict[str, Any]:
        names = self.names([index for index, _ in finding.classes])
        return {
            "kind": finding.kind,
            "severity": finding.severity,
            "title": finding.title,
            "text": finding.text,
            "advice": finding.advice,
            "classes": [
                {"class": index, "name": name, "value": _number(value)}
                for (index, value), name in zip(finding.classes, names, strict=True)
            ],
        }


def _text(name: Any) -> str:
    text = name.decode("utf-8", errors="replace") if isinstance(name, bytes) else str(name)
    return metadata.cut(text)


def _scalar(value: np.ndarray | None) -> float | None:
    return None if value is None or value.size != 1 else float(value.reshape(()))


def _entry(vector: np.ndarray | None, index: int) -> float | None:
    return None if vector is None or index >= vector.size else float(vector.ravel()[index])


def _number(value: Any) -> float | None:
    """A number in the six digits that matter of a float32; None where it is not finite."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")


def _numbers(values: Any) -> list[float | None] | None:
    return None if values is None else [_number(value) for value in values]
