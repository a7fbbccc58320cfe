"""Data sets by name."""

import difflib
from collections.abc import Callable

from gb_keras.data import table_source
from gb_keras.data.array_source import digits, mnist5k
from gb_keras.data.folder_source import FolderSource
from gb_keras.data.glyph_source import glyphs, glyphs_cjk
from gb_keras.data.locations import absolute, reaching
from gb_keras.data.open_images import options
from gb_keras.data.open_images.boxes import OpenImagesBoxes
from gb_keras.data.open_images.labels import OpenImagesLabels
from gb_keras.data.source import Source

# Prefixed names take an argument after the colon.
_PLAIN: dict[str, Callable[[], Source]] = {
    "digits": digits,
    "mnist5k": mnist5k,
    "glyphs": glyphs,
    "glyphs-cjk": glyphs_cjk,
}
_PREFIXES = {
    "tfds": "NAME[/CONFIG]",
    "folder": "PATH",
    "tfds-dir": "PATH",
    "csv": "PATH[?OPTIONS]",
    "parquet": "PATH[?OPTIONS]",
    "huggingface-dir": "PATH[?label=COLUMN]",
    "open-images": "boxes|labels:PATH[?OPTIONS]",
}
_OPEN_IMAGES: dict[str, tuple[Callable[[str], Source], type]] = {
    "boxes": (OpenImagesBoxes, options.BoxOptions),
    "labels": (OpenImagesLabels, options.LabelOptions),
}


def known_names() -> list[str]:
    """The names that `open_source` takes, with placeholders for arguments.

    Example:
        >>> known_names()
        ['digits', 'mnist5k', 'glyphs', 'glyphs-cjk', 'tfds:NAME[/CONFIG]', 'folder:PATH',
         'tfds-dir:PATH', 'csv:PATH[?OPTIONS]', 'parquet:PATH[?OPTIONS]',
         'huggingface-dir:PATH[?label=COLUMN]', 'open-images:boxes|labels:PATH[?OPTIONS]']
    """
    return [*_PLAIN, *(f"{prefix}:{what}" for prefix, what in _PREFIXES.items())]


def full_name(data: str) -> str:
    """The name with a path made absolute, so that equal names mean equal sources.

    Args:
        data: One of `known_names()`, with a data set's name or a path in place of the
            placeholder.

    Raises:
        ValueError: The name is unknown.

    Example:
        >>> full_name("folder:/data/../pictures")
        'folder:/pictures'
        >>> full_name("digit")
        Traceback (most recent call last):
        ...
        ValueError: Expected a data set's name... Received: 'digit'. Did you mean 'digits'?
    """
    if data in _PLAIN:
        return data
    prefix, _, argument = data.partition(":")
    if prefix not in _PREFIXES or not argument:
        raise ValueError(
            f"Expected a data set's name, one of {', '.join(known_names())}. "
            f"Received: {data!r}.{_suggestion(prefix)}"
        )
    if _PREFIXES[prefix] == "PATH":
        return f"{prefix}:{absolute(argument)}"
    if prefix in table_source.OPTIONS:
        return table_source.full_name(prefix, argument)
    if prefix == "open-images":
        kind, _, path = argument.partition(":")
        if kind not in _OPEN_IMAGES or not path:
            raise ValueError(
                "Expected open-images:boxes:PATH or open-images:labels:PATH, with the folder of an "
                f"Open Images download. Received: {data!r}."
            )
        return f"{prefix}:{kind}:{options.full_argument(path, _OPEN_IMAGES[kind][1])}"
    return data


def folder_of(name: str) -> str | None:
    """The folder whose content a source is, or `None` where it is none.

    Args:
        name: What `full_name` returned.

    Example:
        >>> folder_of("folder:/pictures"), folder_of("digits")
        ('/pictures', None)
    """
    prefix, _, argument = name.partition(":")
    if prefix in ("folder", "tfds-dir"):
        return argument
    if prefix == "huggingface-dir":
        return argument.partition("?")[0]
    if prefix == "open-images":
        kind, _, path = argument.partition(":")
        return str(options.parse(path, _OPEN_IMAGES[kind][1])[0])
    return None


def open_source(data: str) -> Source:
    """Open a data set by name.

    Args:
        data: As in `full_name`.

    Returns:
        The source; of folders and TFDS directories nothing but the description is read yet.

    Raises:
        ValueError: The name is unknown, or what it names is no image classification data set.
        FileNotFoundError: The path does not exist, or the fonts that `glyphs` and `glyphs-cjk`
            are drawn from are not installed.
        ConnectionError: A URL cannot be reached.

    Example:
        >>> open_source("digits").classes
        ('0', '1', '2', '3', '4', '5', '6', '7', '8', '9')
    """
    name = full_name(data)
    if name in _PLAIN:
        return _PLAIN[name]()
    prefix, _, argument = name.partition(":")
    with reaching(argument):
        return _open(prefix, argument)


def _open(prefix: str, argument: str) -> Source:
    if prefix == "folder":
        return FolderSource(argument)
    if prefix in ("csv", "parquet"):
        return table_source.open_table(prefix, argument)
    if prefix == "huggingface-dir":
        return table_source.open_huggingface(argument)
    if prefix == "open-images":
        kind, _, path = argument.partition(":")
        return _OPEN_IMAGES[kind][0](path)
    # Only these two need TensorFlow.
    from gb_keras.data import tfds_source

    if prefix == "tfds":
        return tfds_source.open_tfds(argument)
    return tfds_source.open_tfds_directory(argument)


def _suggestion(word: str) -> str:
    nearest = difflib.get_close_matches(word, [*_PLAIN, *_PREFIXES], n=1)
    if not nearest:
        return ""
    return f" Did you mean {nearest[0] + _after(nearest[0])!r}?"


def _after(name: str) -> str:
    return f":{_PREFIXES[name]}" if name in _PREFIXES else ""
