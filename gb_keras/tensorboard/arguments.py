"""The arguments of a request, checked: a wrong one is refused in words, with status 400."""

from collections.abc import Sequence
from typing import Any

from tensorboard import errors, plugin_util
from werkzeug import wrappers

from gb_keras.tensorboard import class_table


def whose(request: wrappers.Request) -> tuple[Any, str]:
    """TensorBoard's context of a request, and the id of its experiment.

    Args:
        request: The request.
    """
    return plugin_util.context(request.environ), plugin_util.experiment_id(request.environ)


def text(request: wrappers.Request, name: str) -> str:
    """An argument that must be there.

    Args:
        request: The request.
        name: Name of the argument.

    Raises:
        InvalidArgumentError: It is not there, or empty.
    """
    value = request.args.get(name)
    if not value:
        raise errors.InvalidArgumentError(
            f"Expected an argument {name!r}. Received {sorted(request.args)}."
        )
    return value


def number(
    request: wrappers.Request, name: str, default: int, least: int = 0, most: int = 2**53
) -> int:
    """A whole number.

    Args:
        request: The request.
        name: Name of the argument.
        default: What an argument that is not there means.
        least: The smallest number allowed.
        most: The largest.

    Raises:
        InvalidArgumentError: Something else.
    """
    value = request.args.get(name)
    if value is None:
        return default
    # Digits alone: int() would also take "1_000", " 7 " and digits of other scripts.
    found = int(value) if value.isascii() and value.isdigit() and len(value) < 20 else -1
    if not least <= found <= most:
        raise errors.InvalidArgumentError(
            f"Expected {name!r} to be a whole number from {least} to {most}. Received: "
            f"{value[:100]!r}."
        )
    return found


def optional_step(request: wrappers.Request) -> int | None:
    """The step, None for the last one.

    Args:
        request: The request.
    """
    return number(request, "step", 0) if "step" in request.args else None


def choice(request: wrappers.Request, name: str, known: Sequence[str], default: str) -> str:
    """One of several words.

    Args:
        request: The request.
        name: Name of the argument.
        known: The words.
        default: What an argument that is not there means.

    Raises:
        InvalidArgumentError: Another word.
    """
    value = request.args.get(name, default)
    if value not in known:
        raise errors.InvalidArgumentError(
            f"Expected {name!r} to be one of {', '.join(known)}. Received: {value[:100]!r}."
        )
    return value


def table(request: wrappers.Request, most: int, default: int = 50) -> dict[str, Any]:
    """Which part of the table of classes, as `ClassTable.page` takes it.

    Args:
        request: The request.
        most: The largest size of a page allowed.
        default: Size of a page where none is given.
    """
    sortable = ("class", "name", "group", *class_table.COLUMNS)
    return {
        "sort": choice(request, "sort", sortable, "count"),
        "descending": choice(request, "order", ("asc", "desc"), "desc") == "desc",
        "page": number(request, "page", 1, least=1),
        "page_size": number(request, "page_size", default, least=1, most=most),
        "search": request.args.get("search", ""),
        **limits(request),
    }


def limits(request: wrappers.Request) -> dict[str, int]:
    """Samples per epoch above which a class is of the many, and below which of the few.

    Args:
        request: The request.
    """
    return {"many": number(request, "many", 100), "few": number(request, "few", 20)}
