"""Files that are whole or absent: write to a temporary name, then rename."""

import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write `text` to `path` so that a reader sees the old file or the new one, never a part.

    Args:
        path: The file to write. Its folder is created.
        text: The content, written as UTF-8.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "deep" / "note.txt"
        >>> write_text(path, "whole")
        >>> path.read_text()
        'whole'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        # mkstemp makes files private; a result file is as readable as any other.
        os.chmod(partial, 0o666 & ~_umask())
        os.replace(partial, path)
    except BaseException:
        os.unlink(partial)
        raise


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all (see `write_text`)."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike) -> Any:
    """Read the JSON file at `path`."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


@contextlib.contextmanager
def new_directory(target: str | os.PathLike) -> Iterator[Path]:
    """A folder that appears under its name only when the block has ended without an error.

    Args:
        target: The folder to make. It may exist only if it is empty.

    Yields:
        A temporary folder beside `target` to write into.

    Raises:
        FileExistsError: `target` already holds something; it is left as it is.

    Example:
        >>> import pathlib, tempfile
        >>> target = pathlib.Path(tempfile.mkdtemp()) / "result"
        >>> with new_directory(target) as folder:
        ...     _ = (folder / "a.txt").write_text("1")
        ...     target.exists()
        False
        >>> [path.name for path in target.iterdir()]
        ['a.txt']
    """
    target = Path(target)
    require_empty(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield partial
        os.chmod(partial, 0o777 & ~_umask())
        if target.exists():
            target.rmdir()
        os.replace(partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def local_path(target: str | os.PathLike) -> Path:
    """A path for results, which must be one of this machine.

    Raises:
        ValueError: It is a URL.

    Example:
        >>> local_path("runs/one").name
        'one'
    """
    # A path that was a URL has lost one of its slashes.
    if re.match(r"[a-z][a-z0-9+.-]+:/", os.fspath(target)):
        raise ValueError(
            "Expected a folder of this machine for the result, such as one of a mounted volume. "
            f"Received: {os.fspath(target)!r}."
        )
    return Path(target)


def require_empty(target: str | os.PathLike) -> None:
    """Refuse a target folder that already holds something.

    Raises:
        FileExistsError: `target` or a parent is a file, or `target` a folder that is not empty.
        ValueError: `target` is a URL.
    """
    target = local_path(target)
    for parent in target.parents:
        if parent.exists() and not parent.is_dir():
            raise FileExistsError(
                f"Expected a new folder for the result. Received: {str(target)!r}, but "
                f"{str(parent)!r} is a file. Name another folder."
            )
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FileExistsError(
            f"Expected an empty or new folder for the result. Received: {str(target)!r}, "
            "which already holds something. Name another folder, or remove this one first."
        )


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    umask = os.umask(0)
    os.umask(umask)
    return umask
