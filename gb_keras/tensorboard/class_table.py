"""The table of classes at a step: sorted, searched and paged, and one column as a ranking."""

import functools
import math
from typing import Any

import numpy as np

from gb_keras.tensorboard.views import MAX_POINTS, NUMBERS_OF_A_CLASS, StatisticView, number, scalar

# The numbers of each class, in the order of the columns.
COLUMNS = (
    "count",
    "mass",
    "mass_positive",
    "mass_negative",
    "positive_share",
    "mean_norm",
    "margin",
    "mean_weight",
    "recall",
)
_KINDS = {
    **NUMBERS_OF_A_CLASS,
    "mass_positive": "mass_positive",
    "mass_negative": "mass_negative",
}


class ClassTable:
    """All classes at one step.

    Args:
        view: The statistic.
        step: A step; the last logged one not after it is meant. None for the last of all.
    """

    def __init__(self, view: StatisticView, step: int | None):
        self._view = view
        self._step = view.step(step)

    @functools.cached_property
    def columns(self) -> dict[str, np.ndarray]:
        """The columns that are known, `(num_classes,)` each."""
        self._view.read_at(self._step, *_KINDS.values())
        vectors = {column: self._view.at(kind, self._step) for column, kind in _KINDS.items()}
        found = {column: vector for column, vector in vectors.items() if vector is not None}
        if "mass_positive" in found and "mass_negative" in found:
            mass = found["mass_positive"] + found["mass_negative"]
            found["mass"] = mass
            found["positive_share"] = np.divide(
                found["mass_positive"], mass, out=np.full_like(mass, np.nan), where=mass > 0
            )
        return {column: found[column] for column in COLUMNS if column in found}

    def page(
        self,
        *,
        sort: str = "count",
        descending: bool = True,
        page: int = 1,
        page_size: int = 50,
        search: str = "",
        many: float = 100,
        few: float = 20,
    ) -> dict[str, Any]:
        """A page of the table.

        Args:
            sort: Column to sort by; also `"class"`, `"name"` or `"group"`.
            descending: Whether the largest come first.
            page: Number of the page, from 1; one after the last is the last.
            page_size: Rows of a page.
            search: Part of a name, or a class's number; empty for all classes.
            many: A class with more samples in an epoch is of the group many.
            few: A class with fewer is of the group few.
        """
        num_classes = self._view.num_classes
        order = self._order(sort, descending)
        search = search.strip()
        if search:
            names = self._view.names(range(num_classes))
            wanted = search.casefold()
            order = np.array(
                [i for i in order if wanted in names[i].casefold() or wanted == str(i)], int
            )
        num_pages = max(1, math.ceil(len(order) / page_size))
        page = min(page, num_pages)
        shown = order[(page - 1) * page_size : page * page_size]
        groups = self._groups(many, few)
        rows = [
            {
                "class": int(index),
                "name": name,
                "group": groups[index],
                **dict.fromkeys(COLUMNS),
                **{column: number(values[index]) for column, values in self.columns.items()},
            }
            for index, name in zip(shown, self._view.names(shown), strict=True)
        ]
        return {
            **self._view.head(),
            "step": self._step,
            "num_classes": num_classes,
            "matching": len(order),
            "page": page,
            "page_size": page_size,
            "num_pages": num_pages,
            "columns": ["class", "name", "group", *self.columns],
            "rows": rows,
        }

    def _order(self, sort: str, descending: bool) -> np.ndarray:
        """Classes sorted by a column, unknown values last, equal ones by class."""
        num_classes = self._view.num_classes
        if sort == "class":
            order = np.arange(num_classes)
            return order[::-1] if descending else order
        if sort == "name":
            names = self._view.names(range(num_classes))
            return np.array(
                sorted(range(num_classes), key=lambda i: names[i].casefold(), reverse=descending)
            )
        # Groups are by count.
        values = self.columns.get("count" if sort == "group" else sort)
        if values is None:
            return np.arange(num_classes)
        keys = np.nan_to_num(-values if descending else values, nan=np.inf, posinf=np.inf)
        return np.argsort(keys, kind="stable")

    def _groups(self, many: float, few: float) -> list[str]:
        """The group of each class by its number of training samples."""
        counts = self.columns.get("count")
        if counts is None:
            return ["medium"] * self._view.num_classes
        # Counted over all epochs so far; the thresholds are on the samples of one.
        counts = counts / max(scalar(self._view.at("num_epochs", self._step)) or 1.0, 1.0)
        return np.select([counts > many, counts < few], ["many", "few"], "medium").tolist()

    def ranking(
        self, column: str, order_by: str, many: float = 100, few: float = 20
    ) -> dict[str, Any]:
        """A column over all classes in the order of another, in at most `MAX_POINTS` points.

        Args:
            column: The column.
            order_by: The column to order by.
            many: A class with more samples in an epoch is of the group many.
            few: A class with fewer is of the group few.
        """
        points = []
        if column in self.columns:
            order = self._order(order_by, descending=True)
            groups = self._groups(many, few)
            num_points = min(MAX_POINTS, len(order))
            rank = 0
            for bucket in np.array_split(order, num_points):
                values = self.columns[column][bucket]
                known = values[np.isfinite(values)]
                single = int(bucket[0]) if len(bucket) == 1 else None
                points.append(
                    {
                        "rank": rank,
                        "num_classes": len(bucket),
                        "min": number(known.min()) if len(known) else None,
                        "mean": number(known.mean()) if len(known) else None,
                        "max": number(known.max()) if len(known) else None,
                        "class": single,
                        "name": None if single is None else self._view.names([single])[0],
                        "group": groups[bucket[len(bucket) // 2]],
                    }
                )
                rank += len(bucket)
        return {
            **self._view.head(),
            "step": self._step,
            "column": column,
            "order_by": order_by,
            "points": points,
        }
