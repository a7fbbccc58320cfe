"""Files that several workers may write at once, each whole or absent."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A file that appears under its name only when the block has ended without an error.

    Args:
        path: Its name.

    Yields:
        A name beside it to write to.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "whole"
        >>> with whole_file(path) as partial:
        ...     _ = partial.write_text("all of it")
        ...     path.exists()
        False
        >>> path.read_text()
        'all of it'
    """
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        yield partial
        with open(partial, "rb") as file:
            # Also after a power cut its name must stand for all of it.
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
