"""Checkpoints of a run as folders: their names, and which of them are whole."""

import re
import warnings
from pathlib import Path

from gb_keras.data.manifest import checksums
from gb_keras.stages.files import read_json, write_json

# Finished epochs, and steps in the next one.
Place = tuple[int, int]
START: Place = (0, 0)
_CHECKSUMS = "checksums.json"


def path(folder: Path, place: Place) -> Path:
    """Where the checkpoint of a place is.

    Args:
        folder: Of all checkpoints of a run.
        place: Of the checkpoint.

    Example:
        >>> path(Path("checkpoints"), (7, 0)).name, path(Path("checkpoints"), (7, 120)).name
        ('epoch-0007', 'epoch-0007-step-00000120')
    """
    num_epochs, num_steps = place
    step = f"-step-{num_steps:08d}" if num_steps else ""
    return folder / f"epoch-{num_epochs:04d}{step}"


def saved(folder: Path) -> list[Place]:
    """Places of all checkpoints that are there, in order.

    Args:
        folder: Of all checkpoints of a run; it need not exist.
    """
    if not folder.exists():
        return []
    names = (each.name for each in folder.iterdir())
    matches = (re.fullmatch(r"epoch-(\d+)(?:-step-(\d+))?", name) for name in names)
    return sorted((int(match[1]), int(match[2] or 0)) for match in matches if match)


def seal(checkpoint: Path) -> None:
    """Write down what the files of a checkpoint are, when all are written.

    Args:
        checkpoint: Its folder.
    """
    write_json(checkpoint / _CHECKSUMS, _checksums(checkpoint))


def last_whole(folder: Path) -> Place:
    """The last of all whose files are what was written; `START` where nothing was saved yet.

    Args:
        folder: Of all checkpoints of a run; it need not exist.

    Raises:
        ValueError: There are some, and all are damaged.
    """
    found = saved(folder)
    damaged: list[str] = []
    for place in reversed(found):
        if _is_whole(path(folder, place)):
            break
        damaged.append(path(folder, place).name)
    if not damaged:
        return max(found, default=START)
    if len(damaged) == len(found):
        raise ValueError(
            f"Expected a whole checkpoint in {str(folder)!r}. Received: "
            f"{', '.join(reversed(damaged))}, damaged. Train into another folder, or remove "
            "this run to start it anew."
        )
    warnings.warn(
        f"Checkpoints in {str(folder)!r} are damaged: {', '.join(damaged)}. Going on from "
        f"{path(folder, place).name}.",
        stacklevel=3,
    )
    return place


def _checksums(checkpoint: Path) -> dict[str, str]:
    """SHA-256 of each file of a checkpoint but their own list."""
    return {name: value for name, value in checksums(checkpoint).items() if name != _CHECKSUMS}


def _is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint's files are those that were written."""
    try:
        return read_json(checkpoint / _CHECKSUMS) == _checksums(checkpoint)
    except (OSError, ValueError):  # Missing, unreadable, or no JSON.
        return False
