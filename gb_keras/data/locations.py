"""Where data lies: paths of this machine, and URLs of whatever fsspec reads."""

import contextlib
import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union
from urllib.parse import unquote

if TYPE_CHECKING:
    from upath import UPath

# `upath` is imported for URLs alone.
Location: TypeAlias = Union[Path, "UPath"]
# What links on the pages of web servers have in their names.
_QUOTED = ("http", "https")


def is_url(text: str | os.PathLike) -> bool:
    """Whether this is a URL, such as `s3://bucket/photos`, and no path of this machine.

    Example:
        >>> is_url("s3://bucket/photos"), is_url("/data/photos"), is_url("file:///data/photos")
        (True, False, False)
    """
    text = os.fspath(text)
    return "://" in text and not text.startswith("file://")


def absolute(text: str | os.PathLike) -> str:
    """A path made absolute; a URL without the slash at its end.

    Example:
        >>> absolute("/data/../photos/"), absolute("s3://bucket/photos/")
        ('/photos', 's3://bucket/photos')
    """
    text = os.fspath(text)
    if is_url(text):
        protocol, mark, rest = text.partition("://")
        return f"{protocol}{mark}{rest.rstrip('/')}"
    return str(Path(text.removeprefix("file://")).expanduser().resolve())


def location(text: Location | str) -> Location:
    """What reads a path or URL: `pathlib.Path`, or `upath.UPath`, which has the same methods.

    Options of a file system, such as credentials, come from where its own library or
    [fsspec's configuration](https://filesystem-spec.readthedocs.io) has them. What a URL holds is
    asked for each time: nothing is remembered of an earlier listing.

    Args:
        text: A path, absolute or not, a URL of a protocol that fsspec knows, or what this returned.

    Raises:
        ValueError: There is no such protocol, or what reads it is not installed.

    Example:
        >>> location("/data/../photos")
        PosixPath('/photos')
    """
    if not isinstance(text, str | Path):
        return text
    text = absolute(text)
    if not is_url(text):
        return Path(text)
    from upath import UPath

    try:
        found = UPath(text, use_listings_cache=False)
        _ = found.fs
    except (ImportError, ValueError) as error:
        protocol = text.partition("://")[0]
        extras = metadata.metadata("fsspec").get_all("Provides-Extra") or []
        remedy = f" Install it: pip install 'fsspec[{protocol}]'" if protocol in extras else ""
        raise ValueError(
            f"Expected a URL that fsspec reads, and what reads it to be installed. Received: "
            f"{text!r}. {error}.{remedy}"
        ) from error
    return found


def as_it_is(text: str) -> Location:
    """The same of a path that is absolute already, without following its links."""
    return location(text) if is_url(text) else Path(text)


def join(root: str, path: str) -> str:
    """A path that starts from a folder, or stands for itself: absolute or a URL.

    Args:
        root: What `absolute` returned.
        path: The path.

    Example:
        >>> join("/data", "a/1.png"), join("s3://bucket/tables", "../a/1.png")
        ('/data/a/1.png', 's3://bucket/a/1.png')
        >>> join("/data", "https://example.org/1.png")
        'https://example.org/1.png'
        >>> join("zip://tables::/data/all.zip", "../a/1.png")
        'zip://a/1.png::/data/all.zip'
    """
    if is_url(path):
        return path
    path = path.removeprefix("file://")
    if not is_url(root) or os.path.isabs(path):
        return str(Path(root, path))
    # What an archive holds stands before where that lies: zip://photos::s3://bucket/all.zip
    inside, mark, archive = root.partition("::")
    protocol, _, folder = inside.partition("://")
    return f"{protocol}://{posixpath.normpath(posixpath.join(folder, path))}{mark}{archive}"


@dataclass(frozen=True)
class Entry:
    """Something in a folder.

    Attributes:
        location: Where it lies.
        name: What it is called.
        is_folder: Whether it is a folder itself.
    """

    location: Location
    name: str
    is_folder: bool


def entries(folder: Location) -> list[Entry]:
    """What is in a folder, sorted by name. A URL costs one request, or one for each page of it.

    Raises:
        FileNotFoundError: There is no such folder.
        ConnectionError: It cannot be reached.
    """
    if isinstance(folder, Path):
        found = [Entry(path, path.name, path.is_dir()) for path in folder.iterdir()]
    else:
        with reaching(folder):
            infos = folder.fs.ls(folder.path, detail=True)
        found = []
        for info in infos:
            # Object stores may list what stands for the folder itself.
            if (full := info["name"].strip("/")) != folder.path.strip("/"):
                name = full.rpartition("/")[2]
                called = unquote(name) if folder.protocol in _QUOTED else name
                found.append(Entry(folder / name, called, info["type"] == "directory"))
    return sorted(found, key=lambda entry: entry.name)


def read_bytes(file: Location) -> bytes:
    """The content of a file.

    Raises:
        OSError: It cannot be read; `ConnectionError` where it could not be reached.
    """
    if isinstance(file, Path):
        return file.read_bytes()
    with reaching(file):
        # What is opened instead may be read in pieces, one request each.
        return file.fs.cat_file(file.path)


@contextlib.contextmanager
def reaching(place: Location | str) -> Iterator[None]:
    """What libraries of file systems raise of their own, as a `ConnectionError`.

    Args:
        place: What is read in this block.
    """
    try:
        yield
    except Exception as error:
        # Most is said in words that are known: no such file, no permission, ... What reads HTTP has
        # its own for a server that is not there.
        known = isinstance(error, OSError | ValueError | ImportError | MemoryError)
        of_http = type(error).__module__.startswith("aiohttp")
        if not is_url(str(place)) or (known and not of_http):
            raise
        raise ConnectionError(
            f"Expected to read {str(place)!r}. Received: {type(error).__name__}: {error}. Look at "
            "the address, the network, and the credentials that the library of this file system "
            "takes from the environment."
        ) from error
