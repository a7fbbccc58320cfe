"""Command line of the comparison: run suites of trials, and report what they show."""

import os
from pathlib import Path
from typing import Annotated

import typer

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

DEFAULT_FOLDER = Path("runs/learning")
Results = Annotated[
    Path, typer.Option(help="Folder of the records, SUITE.jsonl, and of the report.")
]


@app.callback()
def learning() -> None:
    """What balanced training learns, against its peers, on real data."""


@app.command()
def run(
    suite: Annotated[
        list[str], typer.Option(help="Suite to run: quick, mlp, small_cnn or ablation; repeatable.")
    ],
    seeds: Annotated[int, typer.Option(min=1, help="Seeds, from 0 on.")] = 5,
    jobs: Annotated[int, typer.Option(min=1, help="Trials at a time.")] = os.cpu_count() or 1,
    resume: Annotated[
        bool, typer.Option(help="Go on where an earlier run of the suite stopped.")
    ] = False,
    results: Results = DEFAULT_FOLDER,
) -> None:
    """Run the trials of a suite; each is recorded as soon as it is done."""
    from benchmarks.learning import runner, suites

    planned = {name: suites.trials(name, seeds) for name in suite}
    for name in planned:
        path = results / f"{name}.jsonl"
        if path.exists() and not resume:
            raise typer.BadParameter(
                f"Expected a new suite. Received {name}, which has records in {path}. Go on with "
                "it by --resume, or name another folder by --results."
            )
    failures = []
    for name, trials in planned.items():
        failures += runner.run_all(trials, results / f"{name}.jsonl", jobs)
    for failure in failures:
        typer.echo(f"Failed: {failure}", err=True)
    raise typer.Exit(1 if failures else 0)


@app.command()
def report(
    suite: Annotated[
        list[str] | None, typer.Option(help="Suites to report; default all that were run.")
    ] = None,
    results: Results = DEFAULT_FOLDER,
) -> None:
    """Print tables of what was run, and write report.md and report.html."""
    from benchmarks.learning.report import write

    paths = (
        [results / f"{name}.jsonl" for name in suite] if suite else sorted(results.glob("*.jsonl"))
    )
    missing = [str(path) for path in paths if not path.exists()]
    if missing or not paths:
        raise typer.BadParameter(
            f"Expected records of suites in {results}. Received "
            f"{', '.join(missing) or 'a folder without any'}. Run a suite first."
        )
    typer.echo(write(paths, results))
    typer.echo(f"Written to {results / 'report.html'}.")


if __name__ == "__main__":
    app(prog_name="python -m benchmarks.learning")
