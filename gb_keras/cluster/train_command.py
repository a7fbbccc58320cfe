"""The command line of a training, checked before a cluster spends its time on it."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from typer.core import TyperCommand

from gb_keras import cli_config
from gb_keras.stages import train_config


@dataclasses.dataclass(frozen=True)
class TrainCommand:
    """A checked command line.

    Attributes:
        arguments: What follows `gb-keras train` in the cluster.
        output: Folder of the run there.
        options: Options of `train` that are named, by name.
    """

    arguments: tuple[str, ...]
    output: str
    options: Mapping[str, Any]


def check(command: TyperCommand, arguments: Sequence[str], mount: str | None) -> TrainCommand:
    """Parse the arguments of `gb-keras train` and see what can be seen without the data.

    `--resume` is added: a job that was interrupted is started again with the same command. A file
    of options (`--config`) is read here, and what it says is added, too.

    Args:
        command: The command `gb-keras train`.
        arguments: What the user wants it to be called with.
        mount: Folder in the cluster that outlives the job, or None where none is known.

    Returns:
        The arguments to call it with, and its output folder.

    Raises:
        typer.BadParameter: An option is unknown, missing, or has a value of the wrong type; it
            is one of Typer's usage errors, shown as for `gb-keras train` itself.
        ValueError: A name is none of the known ones, a number out of its range, the data would not
            be found, or the run would be lost with its node.
    """
    context: Any = command.make_context("gb-keras train", list(arguments))
    given = context.params
    options = {**given, "verbose": 0}
    # A path is one in the cluster, which cannot be looked at from here.
    if "/" in given["backbone"] or given["backbone"].endswith(".keras"):
        del options["backbone"]
    train_config.check(options)
    if mount is not None and not PurePosixPath(mount).is_absolute():
        raise ValueError(f"Expected --mount to be an absolute path. Received: {mount!r}.")
    data = PurePosixPath(given["data"])
    if mount is not None and not data.is_absolute():
        raise ValueError(
            "Expected the training's --data to be an absolute path, where the nodes see the data "
            f"set. Received: --data {data}. Try --data {PurePosixPath(mount) / data.name}."
        )
    output = PurePosixPath(given["output"])
    if mount is not None and not output.is_relative_to(mount):
        raise ValueError(
            f"Expected the training's --output to be in {mount}, where the volume is mounted: what "
            f"is written elsewhere is lost with the node. Received: --output {output}. Try "
            f"--output {PurePosixPath(mount) / output.name}."
        )
    resume = () if given["resume"] else ("--resume",)
    read = cli_config.arguments(context)
    written = (*_without("--config", arguments), *read, *resume)
    return TrainCommand(written, str(output), cli_config.named(context))


def arguments(options: Mapping[str, Any]) -> tuple[str, ...]:
    """Options of `gb_keras.stages.train.train` as `gb-keras train` takes them.

    Args:
        options: Options by name; None and False are what an option is without being given.

    Returns:
        The arguments.

    Example:
        >>> arguments({"learning_rate": 0.1, "augmentation": ["flip", "crop"], "jit_compile": True})
        ('--learning-rate', '0.1', '--augmentation', 'flip', '--augmentation', 'crop',
        '--jit-compile')
        >>> arguments({"weights": None, "jit_compile": False})
        ()
    """
    words: list[str] = []
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(flag)
        elif value is not None and value is not False:
            for each in value if isinstance(value, list | tuple) else [value]:
                words += [flag, str(each)]
    return tuple(words)


def with_output(command: TrainCommand, output: str) -> tuple[str, ...]:
    """The same command line with another output folder.

    Args:
        command: A checked command line.
        output: Folder to take the place of its output folder.

    Returns:
        What follows `gb-keras train`.

    Example:
        >>> with_output(TrainCommand(("--output=a", "--data", "d"), "a", {}), "b")
        ('--data', 'd', '--output', 'b')
    """
    return (*_without("--output", command.arguments), "--output", output)


def _without(option: str, arguments: Sequence[str]) -> list[str]:
    """A command line without an option and its value."""
    kept: list[str] = []
    given = iter(arguments)
    for argument in given:
        if argument == option:
            next(given)
        elif not argument.startswith(f"{option}="):
            kept.append(argument)
    return kept
