"""Files that are whole or absent: write to a temporary name, then rename."""

import contextlib
import errno
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


def remove_leftovers(folder: str | os.PathLike, *names: str) -> None:
    """Remove what writers of these files, which were killed, have left beside them.

    Args:
        folder: The files' folder; it need not exist.
        names: The files' names.

    Example:
        >>> import pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> for name in ("a.json", ".a.json.x1y2z3_4", ".b.json.x1y2z3_4"):
        ...     _ = (folder / name).write_text("{")
        >>> remove_leftovers(folder, "a.json")
        >>> sorted(path.name for path in folder.iterdir())
        ['.b.json.x1y2z3_4', 'a.json']
    """
    for name in names:
        # Eight characters by `tempfile`, and an ending where the file's kind is told by it.
        pattern = re.compile(rf"\.{re.escape(name)}\.[a-z0-9_]{{8}}(\.\w+)?")
        for path in Path(folder).glob(f".{name}.*"):
            if pattern.fullmatch(path.name):
                # Another worker may be faster.
                path.unlink(missing_ok=True)


@contextlib.contextmanager
def full_disk_explained(folder: str | os.PathLike, advice: str) -> Iterator[None]:
    """Say in plain words where an error within this block comes from a disk that is full.

    Libraries say so in their own ways, some of them with pages of what they tried.

    Args:
        folder: What was written to.
        advice: What to do, sentences that end with a period.

    Raises:
        OSError: A disk or a quota is full, or a file larger than allowed.

    Example:
        >>> with full_disk_explained("runs/a", "Make room."):
        ...     raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        Traceback (most recent call last):
        ...
        OSError: Expected room for the files of 'runs/a'. Received: No space left on device. Make
        room.
    """
    try:
        yield
    except Exception as error:
        reason = _full_disk(error)
        if reason is None:
            raise
        raise OSError(
            f"Expected room for the files of {os.fspath(folder)!r}. Received: {reason}. {advice}"
        ) from error


_FULL_DISK = [os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)]


def _full_disk(error: BaseException | None) -> str | None:
    """What an error or what it comes from says of a full disk, if anything."""
    while error is not None:
        for reason in _FULL_DISK:
            if reason in str(error):
                return reason
        error = error.__cause__ or error.__context__
    return None


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    umask = os.umask(0)
    os.umask(umask)
    return umask
