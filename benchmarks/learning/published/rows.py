"""Published accuracies, and the user's own beside them."""

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

import rich.console
import rich.table

from benchmarks.learning.published import protocols
from benchmarks.learning.significance import mean_and_error

FILE = Path(__file__).with_name("rows.toml")


@dataclasses.dataclass(frozen=True)
class Row:
    """A published result.

    Attributes:
        protocol: A name in `protocols.PROTOCOLS`.
        method: A name in `gb_keras.stages.methods.names()`.
        accuracy: Top-1 accuracy on the test images, %.
        source: Paper and table, or program.
    """

    protocol: str
    method: str
    accuracy: float
    source: str


def read() -> list[Row]:
    """All published results.

    Example:
        >>> {row.accuracy for row in read() if row.protocol == "places-lt"}
        {30.2}
    """
    sources = tomllib.loads(FILE.read_text(encoding="utf-8"))["source"]
    return [
        Row(
            protocol,
            method,
            accuracy,
            source["paper"] + (f"; via {source['via']}" if "via" in source else ""),
        )
        for source in sources
        for protocol, method, accuracy in source["rows"]
    ]


def table(protocol: str, records: list[dict[str, Any]]) -> rich.console.Group:
    """A protocol's results, the user's own first, and below what the sources are.

    Args:
        protocol: A name in `protocols.PROTOCOLS`.
        records: Records of runs, of any protocol.
    """
    whole = protocols.get(protocol).epochs
    published = [row for row in read() if row.protocol == protocol]
    notes = Footnotes()
    found = rich.table.Table("method", "top-1 accuracy %", "source", title=protocol)
    for method, epochs, accuracies in _own(protocol, records):
        mean, error = mean_and_error(accuracies)
        length = "" if epochs == whole else f", {epochs} of {whole} epochs: not comparable"
        value = f"{mean:.2f}" if error is None else f"{mean:.2f} ± {error:.2f}"
        found.add_row(method, value, f"own, seeds: {len(accuracies)}{length}")
    for row in published:
        found.add_row(row.method, f"{row.accuracy:.2f}", notes.number(row.source))
    return rich.console.Group(found, *notes.lines())


class Footnotes:
    """Long texts of a table, each told once below it.

    Example:
        >>> notes = Footnotes()
        >>> [notes.number(text) for text in ("a paper", "another", "a paper")]
        ['1', '2', '1']
        >>> notes.lines()
        ['1: a paper', '2: another']
    """

    def __init__(self) -> None:
        self._texts: list[str] = []

    def number(self, text: str) -> str:
        """The number of a text, a new one where it is new."""
        if text not in self._texts:
            self._texts.append(text)
        return str(self._texts.index(text) + 1)

    def lines(self) -> list[str]:
        """All texts with their numbers."""
        return [f"{number}: {text}" for number, text in enumerate(self._texts, start=1)]


def _own(protocol: str, records: list[dict[str, Any]]) -> list[tuple[str, int, list[float]]]:
    """Method, epochs and the accuracies in % of all its seeds."""
    found: dict[tuple[str, int], list[float]] = {}
    for record in records:
        if record["protocol"] == protocol:
            accuracies = found.setdefault((record["method"], record["epochs"]), [])
            accuracies.append(100 * record["final"]["accuracy"])
    return [(method, epochs, accuracies) for (method, epochs), accuracies in found.items()]
