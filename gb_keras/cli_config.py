"""A file of options in the place of a long command line: `gb-keras train --config FILE`."""

import json
from pathlib import Path
from typing import Any

import typer

from gb_keras.names import require_name

# A run's configuration says where the run was logged; another run is not logged there.
_NOT_REPEATED = ("log_dir",)
# What the types of options raise; usage errors are of a class of Typer or of Click.
_WRONG: tuple[type[BaseException], ...] = (
    ValueError,
    TypeError,
    typer.BadParameter.__mro__[1],
)


def take_config(context: typer.Context, config: Path | None) -> Path | None:
    """Let what a file says stand for what the command line does not say.

    The file is a JSON object of options by their names, with `_` for `-`. The `config.json` of a
    run is one as well: of it, what repeats the run is taken.

    Args:
        context: Of the command, before its other options are read.
        config: The file, or None.

    Returns:
        The file.

    Raises:
        typer.BadParameter: There is no such file, it is not as described, or an option has no such
            name, type or value; the error names the file and the option.
    """
    if config is not None:
        options = {param.name: param for param in context.command.params}
        known = [name for name in options if name not in ("config", "help")]
        content = _read(config)
        if "format" in content:
            content = _of_run(content, known)
        for name, value in content.items():
            try:
                require_name("an option", name, known)
                _check(context, options[name], value)
            except _WRONG as error:
                raise typer.BadParameter(f"{config}: {name}: {error}") from None
        context.default_map = {name: each for name, each in content.items() if each is not None}
    return config


def named(context: typer.Context) -> dict[str, Any]:
    """Options that a command line or its file names, by name.

    Args:
        context: Of the command, with all options read.
    """
    return {
        name: value
        for name, value in context.params.items()
        # Some versions say that nothing at all came from the command line.
        if value not in (None, [], ()) and _source(context, name) in ("COMMANDLINE", "DEFAULT_MAP")
    }


def arguments(context: typer.Context) -> list[str]:
    """What the file of a command says and its command line does not, as arguments.

    Args:
        context: Of the command, with all options read.
    """
    found: list[str] = []
    for option in context.command.params:
        if _source(context, option.name) != "DEFAULT_MAP":
            continue
        value = context.params[option.name]
        if isinstance(value, bool):
            found.append((option.opts if value else option.secondary_opts)[0])
        else:
            for each in value if isinstance(value, (list, tuple)) else [value]:
                found += [option.opts[0], str(each)]
    return found


def _source(context: typer.Context, name: str | None) -> str:
    return getattr(context.get_parameter_source(name or ""), "name", "")


def _read(config: Path) -> dict[str, Any]:
    try:
        content = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{config}: expected a JSON file of options: {error}") from None
    if not isinstance(content, dict):
        raise typer.BadParameter(
            f'{config}: expected an object of options, such as {{"epochs": 30}}. Received: '
            f"{type(content).__name__}."
        )
    return content


def _of_run(config: dict[str, Any], known: list[str]) -> dict[str, Any]:
    """The options in the configuration of a run, where `data` is the name of the data set."""
    options = {**config, "data": config.get("data_dir")}
    return {name: options[name] for name in known if name in options and name not in _NOT_REPEATED}


def _check(context: typer.Context, option: Any, value: Any) -> None:
    """Refuse a value that the command line would not take, or only as something else."""
    if value is None:
        if option.default is not None or option.required:
            raise ValueError("expected a value. Received: null.")
        return
    # Typer would take a text for its letters.
    several = option.multiple and not isinstance(value, list)
    taken = value if several else option.process_value(context, value)
    if option.multiple:
        fits = isinstance(value, list) and all(isinstance(each, str) for each in value)
        wanted = "a list of texts"
    elif isinstance(taken, bool):
        fits, wanted = isinstance(value, bool), "true or false"
    elif isinstance(taken, (int, float)):
        kinds = int if isinstance(taken, int) else (int, float)
        fits = isinstance(value, kinds) and not isinstance(value, bool)
        wanted = "a whole number" if isinstance(taken, int) else "a number"
    else:
        fits, wanted = isinstance(value, str), "a text"
    if not fits:
        raise ValueError(f"expected {wanted}. Received: {json.dumps(value)}.")
