"""A text that is another one when the files of a data set are others, without reading them."""

import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gb_keras.data import table_source
from gb_keras.data.catalogue import folder_of, full_name
from gb_keras.data.locations import Location, as_it_is, entries, location, reaching


def source_version(data: str) -> str:
    """Tell a state of the files that a data set is made of from any other.

    Of each file that is its size and the time when it was changed, of a URL what its file system
    says of it, such as a checksum. The files of a table are the table and the images that it lists;
    those of all others are all in their folder.

    Args:
        data: As `open_source` takes it.

    Returns:
        `"files "` and 16 hexadecimal digits; `""` for a data set that is not named by a path, or
        by a `gs://` that TensorFlow reads.

    Raises:
        ValueError: The name is unknown, or a table cannot be read.
        FileNotFoundError: The path does not exist.
        ConnectionError: A URL cannot be reached.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> before = source_version(f"folder:{folder}")
        >>> _ = (folder / "1.png").write_text("one")
        >>> source_version(f"folder:{folder}") != before
        True
        >>> source_version("digits")
        ''
    """
    name = full_name(data)
    prefix, _, argument = name.partition(":")
    folder = folder_of(name)
    if prefix == "tfds-dir" and argument.startswith("gs://"):
        # TensorFlow reads it, without what fsspec would need.
        return ""
    if folder is not None:
        states = _of_folder(location(folder))
    elif prefix in table_source.OPTIONS:
        states = _of_files(table_source.files(prefix, argument))
    else:
        return ""
    digest = hashlib.sha256()
    for state in states:
        digest.update(f"{state}\n".encode("utf-8", "surrogateescape"))
    return f"files {digest.hexdigest()[:16]}"


def _of_folder(folder: Location) -> Iterator[str]:
    """States of all files in a folder and its sub-folders, in an order of their own."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"Expected a folder. Received: {str(folder)!r}, which is "
            f"{'a file' if folder.exists() else 'not there'}."
        )
    if isinstance(folder, Path):
        yield from _of_tree(folder)
        return
    with reaching(folder):
        found = folder.fs.find(folder.path, detail=True)
        for name in sorted(found):
            yield f"{name} {_of_info(folder.fs, name, found[name])}"


def _of_tree(folder: Path, parents: tuple[Path, ...] = ()) -> Iterator[str]:
    real = folder.resolve()
    # Links may lead in a circle.
    for entry in entries(folder) if real not in parents else ():
        if entry.is_folder:
            yield from _of_tree(folder / entry.name, (*parents, real))
        else:
            yield f"{folder / entry.name} {_of_path(folder / entry.name)}"


def _of_files(files: Iterable[str]) -> Iterator[str]:
    listed = functools.cache(_of_listing)
    for name in files:
        file = as_it_is(name)
        if isinstance(file, Path):
            yield f"{name} {_of_path(file)}"
            continue
        # One request for a folder, or one for each file that no listing tells enough of.
        state = listed(file.parent).get(file.path)
        if state is None:
            with reaching(file):
                try:
                    state = _of_info(file.fs, file.path, {})
                except FileNotFoundError:
                    state = "not there"
        yield f"{name} {state}"


def _of_listing(folder: Any) -> dict[str, str]:
    """States of the files in a folder of another file system, by their paths."""
    with reaching(folder):
        try:
            infos = folder.fs.ls(folder.path, detail=True)
        except OSError:
            # Not every server lists what it has.
            return {}
    return {
        info["name"]: _of_info(folder.fs, info["name"], info)
        for info in infos
        if info["type"] == "file" and info.get("size") is not None
    }


def _of_info(fs: Any, name: str, info: Mapping[str, Any]) -> str:
    """What a file system says of a file, asked for where it was not listed; short, for memory."""
    if info.get("size") is None:
        info = fs.info(name)
    return hashlib.sha256(str(sorted(info.items())).encode()).hexdigest()[:16]


def _of_path(file: Path) -> str:
    try:
        found = file.stat()
    except OSError:
        return "not there"
    return f"{found.st_size} {found.st_mtime_ns}"
