"""What the records show, as numbers: the cells of the tables, and the goals."""

import dataclasses
import statistics
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from benchmarks.learning.regimes import REGIMES
from benchmarks.learning.significance import mean_and_error, outcome
from benchmarks.learning.suites import BASELINE, OURS
from gb_keras.stages.compare import first_epoch_at

# The row of our method with the setting that is best in validation.
TUNED_OURS = f"{OURS}, tuned"
# What ranks images by logit, measured where there are several labels.
RANKING = "mean_average_precision"
# Records of one method in one column, by seed.
Cell = Mapping[int, Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Results:
    """Records, sorted for tables.

    Attributes:
        columns: Regime and network of each column.
        methods: Label of each row: ours first, then the baseline, then the others.
        cells: By column and label, the records by seed.
    """

    columns: list[tuple[str, str]]
    methods: list[str]
    cells: dict[tuple[tuple[str, str], str], dict[int, dict[str, Any]]]

    @property
    def peers(self) -> list[str]:
        """The methods that are not ours."""
        return [label for label in self.methods if not label.startswith(OURS)]

    def values(
        self, column: tuple[str, str], label: str, metric: str, epoch: str = "final"
    ) -> dict[int, float]:
        """A metric by seed; empty where nothing was run, or measured.

        Args:
            column: Regime and network.
            label: The method's label.
            metric: One of `gb_keras.stages.evaluate.METRICS`, or `mean_average_precision`.
            epoch: `"final"` or `"best"`.
        """
        cell = self.cells.get((column, label), {})
        return {
            seed: record[epoch][metric]
            for seed, record in sorted(cell.items())
            if record[epoch].get(metric) is not None
        }

    def mean(
        self, column: tuple[str, str], label: str, metric: str, epoch: str = "final"
    ) -> tuple[float, float | None] | None:
        """Mean over seeds and its standard error; None where nothing was run."""
        values = self.values(column, label, metric, epoch)
        return mean_and_error(list(values.values())) if values else None

    def measured(self, metric: str, epoch: str = "final") -> "Results":
        """The columns and methods that have a metric; mean average precision is of several labels.

        Args:
            metric: As for `values`.
            epoch: `"final"` or `"best"`.
        """
        found = {key for key in self.cells if self.values(*key, metric, epoch)}
        return dataclasses.replace(
            self,
            columns=[each for each in self.columns if any(each == column for column, _ in found)],
            methods=[each for each in self.methods if any(each == label for _, label in found)],
        )

    def by_kind(self) -> dict[str, list[tuple[str, str]]]:
        """Single-label and multi-label columns, which have other peers; "all" if of one kind."""
        kinds: dict[str, list[tuple[str, str]]] = {}
        for column in self.columns:
            kind = "multi-label" if REGIMES[column[0]].mosaics else "single-label"
            kinds.setdefault(kind, []).append(column)
        return kinds if len(kinds) > 1 else {"all": self.columns}

    def outcome(
        self, column: tuple[str, str], peer: str, metric: str = "balanced_accuracy"
    ) -> str | None:
        """Win, tie or loss of our method against a peer over the seeds that both have."""
        ours, theirs = self.values(column, OURS, metric), self.values(column, peer, metric)
        seeds = sorted(set(ours) & set(theirs))
        if not seeds:
            return None
        return outcome([ours[seed] for seed in seeds], [theirs[seed] for seed in seeds])


def results(records: Iterable[Mapping[str, Any]]) -> Results:
    """Sort records for tables.

    Of a column whose methods were run with more or fewer seeds, those are left out that not all of
    them have: a seed may be harder than another.

    Args:
        records: What `records.read` returned.
    """
    cells: dict[tuple[tuple[str, str], str], dict[int, dict[str, Any]]] = {}
    for record in _of_common_seeds(records):
        key = ((record["regime"], record["network"]), record["label"])
        cells.setdefault(key, {})[record["seed"]] = dict(record)
    order = list(REGIMES)
    columns = sorted({column for column, _ in cells}, key=lambda c: (c[1], order.index(c[0])))
    labels = list(dict.fromkeys(label for _, label in cells))
    first = [label for label in (OURS, BASELINE) if label in labels]
    return Results(columns, [*first, *(each for each in labels if each not in first)], cells)


def tuned_results(records: Iterable[Mapping[str, Any]]) -> Results:
    """Of each method in each column the setting that is best in validation, under its own name.

    The best has the highest balanced accuracy after the last epoch in the mean over seeds. Test
    splits have no say. Our method is there twice: as it comes, and tuned. A seed that some setting
    lacks is left out of all.

    Args:
        records: What `records.read` returned, each method with several settings.
    """
    settings: dict[tuple[str, str, str], dict[str, list[Mapping[str, Any]]]] = {}
    chosen = []
    for record in _of_common_seeds(records):
        column = record["regime"], record["network"], record["method"]
        settings.setdefault(column, {}).setdefault(record["label"], []).append(record)
        if record["label"] == OURS:
            chosen.append(record)
    for (_, _, method), by_label in settings.items():

        def in_validation(label: str, by_label: dict = by_label) -> float:
            curves = [record["curves"]["balanced_accuracy"] for record in by_label[label]]
            return statistics.fmean(curve[-1] for curve in curves)

        best = by_label[max(by_label, key=in_validation)]
        label = TUNED_OURS if method == OURS else method
        chosen += [{**record, "label": label} for record in best]
    return results(chosen)


def _of_common_seeds(records: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The records of seeds that each setting of a regime and network has; all where none has."""
    records = list(records)
    seeds: dict[tuple[str, str], dict[str, set[int]]] = {}
    for record in records:
        by_label = seeds.setdefault((record["regime"], record["network"]), {})
        by_label.setdefault(record["label"], set()).add(record["seed"])
    common = {column: set.intersection(*found.values()) for column, found in seeds.items()}

    def is_common(record: Mapping[str, Any]) -> bool:
        of_column = common[record["regime"], record["network"]]
        return record["seed"] in of_column or not of_column

    return [record for record in records if is_common(record)]


def epochs_to_baseline_best(
    results: Results, column: tuple[str, str], label: str
) -> list[tuple[int, int | None]]:
    """For each seed the epoch of the baseline's best, and that at which a method is as good.

    Both by balanced accuracy on the validation split; None for never.
    """
    pairs = []
    baseline, method = (results.cells.get((column, each), {}) for each in (BASELINE, label))
    for seed in sorted(set(baseline) & set(method)):
        curve = baseline[seed]["curves"]["balanced_accuracy"]
        reached = first_epoch_at(max(curve), method[seed]["curves"]["balanced_accuracy"])
        pairs.append((1 + int(np.argmax(curve)), reached))
    return pairs


def best_single_peer(
    results: Results, columns: list[tuple[str, str]], metric: str = "balanced_accuracy"
) -> str | None:
    """Of the peers that have all of some columns, the one with the highest mean of a metric."""
    means = {
        label: statistics.fmean(found[0] for found in of_columns)
        for label in results.peers
        if all(of_columns := [results.mean(column, label, metric) for column in columns])
    }
    return max(means, key=means.__getitem__) if means else None


@dataclasses.dataclass(frozen=True)
class Goal:
    """A goal of the comparison and what was reached.

    Attributes:
        what: What is asked for.
        wanted: How much.
        reached: What was measured, in words.
        met: Whether that is enough.
    """

    what: str
    wanted: str
    reached: str
    met: bool


def goals(results: Results) -> list[Goal]:
    """The goals that can be judged by these results: none without a peer."""
    peers = results.peers
    if not peers:
        return []
    found = []

    lost = []
    for column in results.columns:
        ahead = [peer for peer in peers if results.outcome(column, peer) == "loss"]
        if ahead:
            lost.append(f"{column[0]} ({column[1]}) to {', '.join(ahead)}")
    found.append(
        _none("regimes in which a peer is significantly better in balanced accuracy", results, lost)
    )
    for kind, columns in results.by_kind().items():
        best = best_single_peer(results, columns)
        if best is not None:
            over = f"over {best}, the best single peer, {kind}"
            found.append(_advantage(results, columns, best, 1.0, over))
    several = results.measured(RANKING).columns
    best = best_single_peer(results, several, RANKING) if several else None
    if best is not None:
        over = f"in mean average precision over {best}, the best single peer there, multi-label"
        found.append(_advantage(results, several, best, 1.0, over, RANKING))
    hard = [column for column in results.columns if not REGIMES[column[0]].balanced_and_clean]
    if hard and BASELINE in peers:
        found.append(
            _advantage(results, hard, BASELINE, 5.0, f"over {BASELINE}, long tail or noise")
        )
        found += _speed(results, hard)
    for metric, name in (
        ("negative_log_likelihood", "negative log likelihood"),
        ("expected_calibration_error", "expected calibration error"),
    ):
        worse = [
            f"{column[0]} ({column[1]})"
            for column in results.columns
            if BASELINE in peers and results.outcome(column, BASELINE, metric) == "win"
        ]
        what = f"regimes with a significantly higher {name} than {BASELINE}"
        found.append(_none(what, results, worse))
    return found


def _none(what: str, results: Results, which: list[str]) -> Goal:
    """The goal that there be no such regime; `which` says which there are."""
    named = f": {'; '.join(which)}" if which else ""
    return Goal(what, "0", f"{len(which)} of {len(results.columns)}{named}", not which)


def _advantage(
    results: Results,
    columns: list[tuple[str, str]],
    peer: str,
    wanted: float,
    over: str,
    metric: str = "balanced_accuracy",
) -> Goal:
    differences = [
        ours[0] - theirs[0]
        for column in columns
        if (ours := results.mean(column, OURS, metric))
        and (theirs := results.mean(column, peer, metric))
    ]
    points = 100 * statistics.fmean(differences) if differences else float("nan")
    return Goal(
        f"mean advantage {over} regimes",
        f"at least +{wanted:.1f} points",
        f"{points:+.1f} points over {len(differences)} regimes",
        points >= wanted,
    )


def _speed(results: Results, columns: list[tuple[str, str]]) -> list[Goal]:
    """How much sooner, over all seeds of the regimes with a long tail."""
    pairs = [
        pair
        for column in columns
        if REGIMES[column[0]].long_tail > 1
        for pair in epochs_to_baseline_best(results, column, OURS)
    ]
    if not pairs:
        return []
    # A run that never gets there counts as no sooner at all.
    ratios = [theirs / ours if ours else 0.0 for theirs, ours in pairs]
    median = statistics.median(ratios)
    never = sum(ours is None for _, ours in pairs)
    return [
        Goal(
            f"epochs to the best of {BASELINE}, long tail regimes",
            "3 times fewer, median",
            f"{median:.1f} times fewer over {len(ratios)} runs, of which {never} never got there",
            median >= 3,
        )
    ]
