"""Remove what killed runs have left beside their target, and nothing else."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no such locks: leftovers stay, which is safe.
    fcntl = None  # type: ignore[assignment]

_LOCK = ".gb_keras.lock"


@contextlib.contextmanager
def marked_as_ours(folder: Path) -> Iterator[None]:
    """Keep a lock in an unfinished folder while the block runs.

    The kernel drops the lock when the process ends, however it ends; so an unfinished folder
    with a lock file that nobody holds is surely ours and surely dead.

    Args:
        folder: The unfinished folder.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with marked_as_ours(folder):
        ...     [path.name for path in folder.iterdir()]
        ['.gb_keras.lock']
        >>> list(folder.iterdir())
        []
    """
    if fcntl is None:
        yield
        return
    new, lock = folder / f"{_LOCK}.new", folder / _LOCK
    with open(new, "w") as file:
        # Locked before it has its name, so nobody can find it unlocked while we live.
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
            os.rename(new, lock)
        yield
        new.unlink(missing_ok=True)
        lock.unlink(missing_ok=True)


def remove_leftovers(
    target: Path, salvage: Callable[[Path], object] = lambda folder: None
) -> list[Path]:
    """Remove the unfinished folders of dead runs that were to become `target`.

    Args:
        target: The folder that those runs would have made.
        salvage: Called with each before it is removed, while no other run can have it.

    Returns:
        What was removed. Folders without our lock, or with one that is held, are left.
    """
    removed: list[Path] = []
    if fcntl is None or not target.parent.is_dir():
        return removed
    for folder in sorted(target.parent.iterdir()):
        lock = folder / _LOCK
        if not folder.name.startswith(f".{target.name}.") or not lock.is_file():
            continue
        with contextlib.suppress(OSError), open(lock) as file:
            # Fails when the run still lives, or where the file system knows no locks.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            salvage(folder)
            # The lock goes last: what cannot be removed now is still known as ours later.
            for entry in set(folder.iterdir()) - {lock}:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            shutil.rmtree(folder)
            removed.append(folder)
    return removed
