"""Published accuracies, and the user's own beside them."""

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

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
        Row(*row, source=source["paper"] + (f"; via {source['via']}" if "via" in source else ""))
        for source in sources
        for row in source["rows"]
    ]


def table(protocol: str, records: list[dict[str, Any]]) -> rich.table.Table:
    """A protocol's results, the user's own first.

    Args:
        protocol: A name in `protocols.PROTOCOLS`.
        records: Records of runs, of any protocol.
    """
    whole = protocols.get(protocol).epochs
    found = rich.table.Table("method", "top-1 accuracy %", "source", title=protocol)
    for method, epochs, accuracies in _own(protocol, records):
        mean, error = mean_and_error(accuracies)
        count = f"{len(accuracies)} seed{'s' if len(accuracies) > 1 else ''}"
        length = "" if epochs == whole else f", {epochs} of {whole} epochs: not comparable"
        value = f"{mean:.2f} ± {error:.2f}" if len(accuracies) > 1 else f"{mean:.2f}"
        found.add_row(method, value, f"own, last epoch, {count}{length}")
    for row in read():
        if row.protocol == protocol:
            found.add_row(row.method, f"{row.accuracy:.2f}", row.source)
    return found


def _own(protocol: str, records: list[dict[str, Any]]) -> list[tuple[str, int, list[float]]]:
    """Method, epochs and the accuracies in % of all its seeds."""
    found: dict[tuple[str, int], list[float]] = {}
    for record in records:
        if record["protocol"] == protocol:
            accuracies = found.setdefault((record["method"], record["epochs"]), [])
            accuracies.append(100 * record["final"]["accuracy"])
    return [(method, epochs, accuracies) for (method, epochs), accuracies in found.items()]
