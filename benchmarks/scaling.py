"""A model of the time of a step on many workers, from what is measured on a few of this machine.

    python -m benchmarks.scaling measure FILE --workers 2 [--pairs 11] [--case mlp ...]
    python -m benchmarks.scaling tables FILE

`measure` runs `benchmarks.workers` with so many workers and adds its figures to the file; `tables`
fits the constants of the network to them and prints the tables of docs/scaling.md. One worker and
two at least must have been measured.
"""

import dataclasses
import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks import workers

CASES = ("mlp", "small_cnn", "classes_1000", "classes_10000", "classes_20000")
BINS = 30
# Of what the tables are about: shares of a step that the statistic costs.
SHARE = 0.05

app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)


@dataclasses.dataclass(frozen=True)
class Network:
    """What a ring of workers takes for an all-reduce.

    Attributes:
        hop: Seconds until a message, however small, is at the next worker and taken in.
        bandwidth: Bytes that a worker sends in a second.
    """

    hop: float
    bandwidth: float

    def all_reduce(self, num_workers: int, num_bytes: float) -> float:
        """Seconds of an all-reduce: twice around, each time with a share of the bytes.

        Args:
            num_workers: Workers in the ring, at least 1.
            num_bytes: Bytes to be summed.

        Example:
            >>> Network(hop=0.001, bandwidth=1e9).all_reduce(2, 1e6)
            0.003
            >>> Network(hop=0.001, bandwidth=1e9).all_reduce(1, 1e6)
            0.0
        """
        hops = 2 * (num_workers - 1)
        return hops * (self.hop + num_bytes / num_workers / self.bandwidth)


# What the second has is the lower end of a cloud's, of the third that of a cluster for training.
NETWORKS = {
    "10 Gbit/s, 100 us a hop": Network(100e-6, 1.25e9),
    "100 Gbit/s, 20 us a hop": Network(20e-6, 12.5e9),
}


def fitted(measured: Iterable[tuple[int, float, float]]) -> Network:
    """The network whose all-reduces take the times that were measured, by least relative squares.

    Args:
        measured: Number of workers, bytes and seconds of each all-reduce.

    Example:
        >>> network = Network(hop=0.001, bandwidth=1e9)
        >>> points = [(2, 4.0), (2, 1e6), (3, 4.0), (3, 1e6)]
        >>> found = fitted([(*point, network.all_reduce(*point)) for point in points])
        >>> round(found.hop, 6), round(found.bandwidth / 1e9, 6)
        (0.001, 1.0)
    """
    rows, ones = [], []
    for num_workers, num_bytes, seconds in measured:
        hops = 2 * (num_workers - 1)
        rows.append([hops / seconds, hops * num_bytes / num_workers / seconds])
        ones.append(1.0)
    hop, per_byte = np.linalg.lstsq(np.array(rows), np.array(ones), rcond=None)[0]
    return Network(float(hop), float(1.0 / per_byte))


def statistic_bytes(num_classes: int, bins: int = BINS) -> tuple[int, int]:
    """Bytes of the two all-reduces of the statistic.

    Args:
        num_classes: Number of classes.
        bins: Bins of its histogram.

    Example:
        >>> statistic_bytes(1000)
        (4000, 128132)
    """
    return 4 * num_classes, 4 * (num_classes * (bins + 2) + bins + 3)


def statistic_seconds(network: Network, num_workers: int, num_classes: int) -> float:
    """Seconds of a step's all-reduces of the statistic.

    Args:
        network: What they go over.
        num_workers: Number of workers.
        num_classes: Number of classes.
    """
    return sum(network.all_reduce(num_workers, each) for each in statistic_bytes(num_classes))


@app.command()
def measure(
    file: Annotated[Path, typer.Argument(help="File of figures to add to, JSON.")],
    num_workers: Annotated[int, typer.Option("--workers", min=1, help="Processes.")],
    pairs: Annotated[int, typer.Option(min=2, help="Pairs of blocks of each case.")] = 11,
    case: Annotated[list[str] | None, typer.Option(help="Of benchmarks.overhead.")] = None,
) -> None:
    """Measure workers of this machine."""
    found = json.loads(file.read_text()) if file.exists() else {}
    found[str(num_workers)] = workers.measured(num_workers, case or list(CASES), pairs)
    file.write_text(json.dumps(found, indent=1))


@app.command()
def tables(file: Annotated[Path, typer.Argument(help="What measure has written.")]) -> None:
    """Print the tables of docs/scaling.md."""
    found = {int(number): figures for number, figures in json.loads(file.read_text()).items()}
    network = fitted(
        (number, 4 * int(size), ms / 1000)
        for number, figures in found.items()
        for size, ms in figures["all_reduce_ms"].items()
    )
    typer.echo(f"hop {1000 * network.hop:.2f} ms, bandwidth {network.bandwidth / 1e6:.0f} MB/s\n")
    for table in (_all_reduces(found, network), _steps(found, network), _limits(network)):
        typer.echo("\n".join(table) + "\n")


def _all_reduces(found: dict[int, Any], network: Network) -> list[str]:
    lines = ["| workers | floats | measured ms | model ms |", "|---:|---:|---:|---:|"]
    for number, figures in found.items():
        for size, ms in figures["all_reduce_ms"].items():
            model = 1000 * network.all_reduce(number, 4 * int(size))
            lines.append(f"| {number} | {int(size):,} | {ms:.2f} | {model:.2f} |")
    return lines


def _steps(found: dict[int, Any], network: Network) -> list[str]:
    """Steps as measured, and as they should be by those of one worker, who has all of the work.

    Workers of one machine share its processors, so together they compute as long as one does.
    """
    lines = [
        "| case | workers | plain ms | model ms | balanced ms | model ms | time ratio | "
        "quartiles | model |",
        "|---|---:|---:|---:|---:|---:|---:|---|---:|",
    ]
    for name, alone in found[1]["cases"].items():
        for number, figures in found.items():
            if name not in figures["cases"]:
                continue
            case = figures["cases"][name]
            model = {
                variant: alone["ms"][variant]
                + 1000 * sum(network.all_reduce(number, each) for each in case["bytes"][variant])
                for variant in workers.VARIANTS
            }
            low, middle, high = statistics.quantiles(case["ratios"], n=4)
            plain, balanced = (case["ms"][variant] for variant in workers.VARIANTS)
            lines.append(
                f"| {name} | {number} | {plain:.1f} | {model['plain']:.1f} | {balanced:.1f} | "
                f"{model['balanced']:.1f} | {middle:.3f} | {low:.3f} to {high:.3f} | "
                f"{model['balanced'] / model['plain']:.3f} |"
            )
    return lines


def _limits(measured: Network) -> list[str]:
    """Steps that must take longer for the statistic to cost less than its share."""
    networks = {"loopback, as measured": measured, **NETWORKS}
    lines = [
        "| network | classes | 2 workers | 8 | 32 | 128 |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, network in networks.items():
        for num_classes in (10, 1000, 10_000, 20_000, 100_000):
            seconds = (
                statistic_seconds(network, number, num_classes) for number in (2, 8, 32, 128)
            )
            cells = " | ".join(f"{1000 * each / SHARE:,.1f}" for each in seconds)
            lines.append(f"| {name} | {num_classes:,} | {cells} |")
    return lines


if __name__ == "__main__":
    app(prog_name="python -m benchmarks.scaling")
