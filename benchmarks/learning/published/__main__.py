"""Command line of the published protocols: run one, list them, print what papers report."""

import os
from pathlib import Path
from typing import Annotated

import typer

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

DEFAULT_FOLDER = Path("runs/learning/published")
Results = Annotated[Path, typer.Option(help="Folder of records, states and training images.")]
Name = Annotated[str, typer.Argument(help="Name of a protocol, see `list`.")]


@app.callback()
def published() -> None:
    """Data, network and training of papers, for any method of gb_keras."""


@app.command()
def run(
    protocol: Name,
    method: Annotated[str, typer.Option(help="Method, as `gb-keras train --loss` takes it.")],
    seed: Annotated[int, typer.Option(min=0, help="Seed of all that is drawn.")] = 0,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where TensorFlow Datasets has its data sets.")
    ] = None,
    split_file: Annotated[
        Path | None, typer.Option(help="Official list of ImageNet-LT or Places-LT.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Another length than the papers have.")
    ] = None,
    results: Results = DEFAULT_FOLDER,
) -> None:
    """Train and measure; the same command goes on where an interruption stopped it."""
    from benchmarks.learning.published import protocols, trial

    try:
        planned = trial.Trial(protocol, method, seed, epochs or protocols.get(protocol).epochs)
        record = trial.run(planned, results, data_dir, split_file)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    for name, value in record["final"].items():
        typer.echo(f"{name}: {'-' if value is None else value}")
    _print(protocol, results)


@app.command("list")
def list_all() -> None:
    """All protocols, and where each is from."""
    import rich.console
    import rich.table

    from benchmarks.learning.published import protocols
    from benchmarks.learning.published.rows import Footnotes

    notes = Footnotes()
    table = rich.table.Table("protocol", "data", "network", "epochs", "source")
    for name, each in protocols.PROTOCOLS.items():
        source = notes.number(each.sources)
        table.add_row(name, each.data, each.network, str(each.epochs), source)
    rich.print(rich.console.Group(table, *notes.lines()))


@app.command()
def rows(protocol: Name, results: Results = DEFAULT_FOLDER) -> None:
    """What papers report, and own results beside it."""
    from benchmarks.learning.published import protocols

    try:
        protocols.get(protocol)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    _print(protocol, results)


def _print(protocol: str, results: Path) -> None:
    import rich

    from benchmarks.learning import records
    from benchmarks.learning.published.rows import table
    from benchmarks.learning.published.trial import RECORDS

    rich.print(table(protocol, records.read(results / RECORDS)))


if __name__ == "__main__":
    app(prog_name="python -m benchmarks.learning.published")
