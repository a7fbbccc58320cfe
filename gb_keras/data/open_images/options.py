"""What of Open Images to take: what stands behind the path of `open-images:KIND:PATH`."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TypeVar
from urllib.parse import quote

from gb_keras.data import source_options
from gb_keras.data.locations import Location
from gb_keras.data.open_images.layout import FLAGS
from gb_keras.names import require_name

# Stands for the classes that Open Images calls so.
TRAINABLE = "trainable"


@dataclass(frozen=True)
class BoxOptions:
    """Which boxes to take.

    Attributes:
        classes: Display or machine-readable names of the only classes to take, in the order of
            their labels; empty for all.
        drop: Those of `layout.FLAGS` whose boxes are left out.
        min_size: Least width and height of a crop in pixels, at least 1.
    """

    classes: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    min_size: int = 1


@dataclass(frozen=True)
class LabelOptions:
    """Which labels of whole images to take.

    Attributes:
        classes: As of boxes; `("trainable",)` for those that Open Images calls so.
        hierarchy: File of the class hierarchy, within the path; empty for none.
        min_images: Least number of training images that show a class, at least 1.
    """

    classes: tuple[str, ...] = ()
    hierarchy: str = ""
    min_images: int = 1


Options = TypeVar("Options", BoxOptions, LabelOptions)


def parse(argument: str, kind: type[Options]) -> tuple[Location, Options]:
    """Take `PATH?classes=Cat,Dog&drop=group_of,depiction&min_size=32` apart.

    Args:
        argument: A path, and behind a `?` the options, written as in a URL. A class with a comma in
            its display name goes by its machine-readable one.
        kind: `BoxOptions` or `LabelOptions`.

    Returns:
        The path, absolute, and the options.

    Raises:
        ValueError: An option is unknown or has no such value.

    Example:
        >>> parse("/data/../open?drop=group_of&min_size=32", BoxOptions)
        (PosixPath('/open'), BoxOptions(classes=(), drop=('group_of',), min_size=32))
    """
    path, given = source_options.parse(argument, [field.name for field in fields(kind)])
    read = _READ[kind]
    return path, kind(**{name: read[name](value) for name, value in given.items()})  # type: ignore[arg-type]


def full_argument(argument: str, kind: type[Options]) -> str:
    """The argument with its path absolute and its options in order, so that equal ones are equal.

    Example:
        >>> full_argument("/data/../open?min_size=32&drop=truncated,group_of", BoxOptions)
        '/open?drop=group_of,truncated&min_size=32'
    """
    path, options = parse(argument, kind)
    given = {}
    for field in fields(kind):
        value = getattr(options, field.name)
        if value != field.default:
            values = value if isinstance(value, tuple) else (str(value),)
            given[field.name] = ",".join(quote(each, safe="") for each in values)
    return source_options.join(path, given, safe=",%")


def _classes(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names) or len(set(names)) < max(2, len(names)):
        raise ValueError(
            f"Expected at least two classes, each once, with commas between. Received: {text!r}."
        )
    return names


def _classes_or_trainable(text: str) -> tuple[str, ...]:
    return (TRAINABLE,) if text == TRAINABLE else _classes(text)


def _drop(text: str) -> tuple[str, ...]:
    names = set(text.split(","))
    for name in sorted(names):
        require_name("drop", name, FLAGS)
    return tuple(name for name in FLAGS if name in names)


def _number(what: str, text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"Expected {what}, at least 1. Received: {text!r}.")
    return int(text)


_READ: dict[type, dict[str, Callable[[str], object]]] = {
    BoxOptions: {
        "classes": _classes,
        "drop": _drop,
        "min_size": functools.partial(_number, "min_size in pixels"),
    },
    LabelOptions: {
        "classes": _classes_or_trainable,
        "hierarchy": str,
        "min_images": functools.partial(_number, "min_images"),
    },
}
