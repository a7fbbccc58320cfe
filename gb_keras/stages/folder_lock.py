"""One process at a time works in a folder."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no such locks.
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def alone(folder: Path, work: str) -> Iterator[None]:
    """Keep others from a folder; the kernel lets them in again when this process ends.

    Some network file systems have no locks. There nobody is kept away.

    Args:
        folder: The folder, which exists.
        work: What is done there, a noun for messages.

    Raises:
        BlockingIOError: Another process works in it.
    """
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(
                f"Expected a folder that no other {work} works in. Received: {str(folder)!r}, in "
                "which one does. Wait for its end, or name another folder."
            ) from None
        except OSError:
            pass
        yield
    finally:
        os.close(descriptor)
