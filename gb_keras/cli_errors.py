"""Errors of commands in words, and the exit codes that go with them."""

import contextlib
import logging
from collections.abc import Iterator

import typer

# What the user can mend in the command itself, and what else a stage says in plain words.
_USAGE = (ValueError, FileNotFoundError, FileExistsError)
_EXPECTED = (*_USAGE, OSError, ArithmeticError)
# What Typer says itself. Its versions have the second class, of usage errors, in different places.
_OF_TYPER: tuple[type[BaseException], ...] = (typer.Exit, typer.BadParameter.__mro__[1])


@contextlib.contextmanager
def readable_errors(
    context: typer.Context,
    hint: str = "",
    extra: str = "stages",
    expected: tuple[type[Exception], ...] = (),
) -> Iterator[None]:
    """Errors as one line and an exit code: 2 for what the user can mend in the command, else 1.

    Args:
        context: Of the command.
        hint: What to do after an interruption.
        extra: What to install with the package where a module is missing.
        expected: Errors, beside those of stages, that say in plain words what happened.

    Raises:
        typer.Exit: Instead of an error, unless all of it is to be shown.
    """
    # TensorFlow Datasets warns of its own deprecated parts.
    logging.getLogger("absl").setLevel(logging.ERROR)
    try:
        yield
    except _OF_TYPER:
        raise
    except KeyboardInterrupt:
        typer.secho(f"Interrupted. {hint}".strip(), fg="red", err=True)
        raise typer.Exit(130) from None
    except Exception as error:
        if context.find_root().params["debug"]:
            raise
        if isinstance(error, (*_EXPECTED, *expected)):
            message = str(error)
        elif isinstance(error, ModuleNotFoundError):
            message = f"{error}. Install what is missing: pip install 'gb-keras[{extra}]'"
        elif type(error).__name__ == "DataLossError":
            # By its name, since TensorFlow is not loaded where nothing needs it.
            message = (
                "Expected whole record files in the data set. Received a damaged one: "
                f"{str(error).splitlines()[-1]}. Prepare the data set anew, in another folder."
            )
        else:
            message = f"{type(error).__name__}: {error} (gb-keras --debug ... shows where)"
        typer.secho(f"Error: {message}", fg="red", err=True)
        raise typer.Exit(2 if isinstance(error, _USAGE) else 1) from None
