"""Which boxes of Open Images to take: what stands behind the path of `open-images:boxes:PATH`."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from urllib.parse import quote

from gb_keras.data import source_options
from gb_keras.data.open_images.layout import FLAGS
from gb_keras.names import require_name


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


def parse(argument: str) -> tuple[Path, BoxOptions]:
    """Take `PATH?classes=Cat,Dog&drop=group_of,depiction&min_size=32` apart.

    Args:
        argument: A path, and behind a `?` the options, written as in a URL. A class with a comma in
            its display name goes by its machine-readable one.

    Returns:
        The path, absolute, and the options.

    Raises:
        ValueError: An option is unknown or has no such value.

    Example:
        >>> parse("/data/../open?drop=group_of&min_size=32")
        (PosixPath('/open'), BoxOptions(classes=(), drop=('group_of',), min_size=32))
    """
    path, given = source_options.parse(argument, [field.name for field in fields(BoxOptions)])
    return path, BoxOptions(
        **{name: _READ[name](value) for name, value in given.items()}  # type: ignore[arg-type]
    )


def full_argument(argument: str) -> str:
    """The argument with its path absolute and its options in order, so that equal ones are equal.

    Example:
        >>> full_argument("/data/../open?min_size=32&drop=truncated,group_of")
        '/open?drop=group_of,truncated&min_size=32'
    """
    path, options = parse(argument)
    given = {
        "classes": ",".join(quote(name, safe="") for name in options.classes),
        "drop": ",".join(options.drop),
        "min_size": str(options.min_size) if options.min_size > 1 else "",
    }
    return source_options.join(path, given, safe=",%")


def _classes(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names) or len(set(names)) < max(2, len(names)):
        raise ValueError(
            f"Expected at least two classes, each once, with commas between. Received: {text!r}."
        )
    return names


def _drop(text: str) -> tuple[str, ...]:
    names = set(text.split(","))
    for name in sorted(names):
        require_name("drop", name, FLAGS)
    return tuple(name for name in FLAGS if name in names)


def _min_size(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"Expected min_size in pixels, at least 1. Received: {text!r}.")
    return int(text)


_READ: dict[str, Callable[[str], object]] = {
    "classes": _classes,
    "drop": _drop,
    "min_size": _min_size,
}
