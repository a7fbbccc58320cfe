"""Command line of the comparison: run suites of trials, and report what they show."""

import os
from pathlib import Path
from typing import Annotated

import typer

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

DEFAULT_FOLDER = Path("runs/learning")
# Of all suites, which have trials in common.
RECORDS = "trials.jsonl"
Results = Annotated[Path, typer.Option(help=f"Folder of the records, {RECORDS}, and of reports.")]
_SUITES = (
    "quick, mlp, small_cnn, glyphs, glyphs_small_cnn, cjk, multi_label, full, ablation or tuned"
)


@app.callback()
def learning() -> None:
    """What balanced training learns, against its peers, on real data."""


@app.command()
def run(
    suite: Annotated[list[str], typer.Option(help=f"Suite to run: {_SUITES}; repeatable.")],
    seeds: Annotated[int, typer.Option(min=1, help="Seeds, from 0 on.")] = 5,
    jobs: Annotated[int, typer.Option(min=1, help="Trials at a time.")] = os.cpu_count() or 1,
    resume: Annotated[
        bool, typer.Option(help="Leave out what is recorded; go on where a run stopped.")
    ] = False,
    results: Results = DEFAULT_FOLDER,
) -> None:
    """Run the trials of a suite; each is recorded as soon as it is done."""
    from benchmarks.learning import runner, suites

    path = results / RECORDS
    if path.exists() and not resume:
        raise typer.BadParameter(
            f"Expected a new folder. Received {results}, which has records. Add to them, and keep "
            "those that are there, by --resume, or name another folder by --results."
        )
    # A trial of several suites once.
    trials = list(dict.fromkeys(trial for name in suite for trial in suites.trials(name, seeds)))
    failures = runner.run_all(trials, path, jobs)
    for failure in failures:
        typer.echo(f"Failed: {failure}", err=True)
    raise typer.Exit(1 if failures else 0)


@app.command()
def report(
    suite: Annotated[str, typer.Option(help=f"Suite to report: {_SUITES}.")],
    results: Results = DEFAULT_FOLDER,
) -> None:
    """Print tables of what was run of a suite, and write SUITE.md and SUITE.html."""
    from benchmarks.learning import records, suites
    from benchmarks.learning.report import write

    path = results / RECORDS
    found = suites.select(suite, records.read(path))
    if not found:
        raise typer.BadParameter(
            f"Expected records of suite {suite} in {path}. Received none. Run the suite first."
        )
    typer.echo(write(found, results / suite, tuned=suite == "tuned"))
    typer.echo(f"Written to {results / suite}.html.")


if __name__ == "__main__":
    app(prog_name="python -m benchmarks.learning")
