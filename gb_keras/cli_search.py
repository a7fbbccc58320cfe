"""The command `gb-keras search`: options of a training searched with Optuna, on this machine."""

from pathlib import Path
from typing import Annotated, Any

import typer

from gb_keras import cli_config, cli_options
from gb_keras.cli_errors import readable_errors
from gb_keras.cluster import command_parts


def search(
    context: typer.Context,
    train_options: Annotated[
        list[str],
        typer.Argument(
            metavar="-- TRAIN_OPTIONS",
            help="Options of `gb-keras train`, after a `--`: --data; --output, the folder of the "
            "search; and what all trials have. What they name is not searched by default.",
        ),
    ],
    space: cli_options.SearchSpace = None,
    trials: Annotated[
        int, typer.Option(help="Trials in all, those of earlier calls included.", min=1)
    ] = 20,
    jobs: Annotated[
        int,
        typer.Option(
            help="Trials at the same time, each in a process of its own.",
            min=1,
            rich_help_panel=cli_options.RUNTIME,
        ),
    ] = 1,
    pruner: Annotated[
        str,
        typer.Option(
            help="median: after a third of the epochs, end trials that are worse than the median "
            "of the others; none: train all to their end."
        ),
    ] = "median",
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Optuna's database. Default: an SQLite file in the folder of the search.",
            show_default=False,
            rich_help_panel=cli_options.RUNTIME,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the values that are drawn.", min=0)] = 0,
    timeout: Annotated[
        float | None,
        typer.Option(
            help="Seconds after which no more trials are started. Default: no end.",
            min=0.0,
            show_default=False,
            rich_help_panel=cli_options.RUNTIME,
        ),
    ] = None,
) -> None:
    """Search options of a training with Optuna: many trainings, the best in validation wins.

    The same command goes on after an interruption, and with more --trials after the end.
    """
    with readable_errors(
        context,
        hint="The same command goes on from there.",
        extra="search",
        # Given up, or not come to an end. Trials have processes of their own.
        expected=(RuntimeError,),
    ):
        train = command_parts.command_of_the_root(context, "train")
        parsed: Any = train.make_context("gb-keras train", list(train_options))
        given = cli_config.named(parsed)
        from gb_keras.stages.search import search as stage
        from gb_keras.stages.search_space import Search

        for name in ("config", "resume"):
            given.pop(name, None)
        if "verbose" in given:
            given["verbose"] = cli_options.verbose_level(given["verbose"])
        data, output = Path(given.pop("data")), Path(given.pop("output"))
        result = stage(
            data,
            output,
            [Search.parse(text) for text in space] if space else None,
            train_options=given,
            num_trials=trials,
            num_jobs=jobs,
            pruner=pruner,
            storage=storage,
            seed=seed,
            timeout=timeout,
        )
        of_default = "failed" if result["default"] is None else f"{result['default']:.4f}"
        typer.echo(
            f"Best: trial {result['best_trial']}, balanced accuracy {result['best']:.4f} "
            f"(defaults: {of_default})"
        )
        best = output / "best_config.json"
        typer.echo(f"Train with it: gb-keras train --config {best} --output FOLDER")
        typer.echo(f"Report: {output / 'search.html'}")
