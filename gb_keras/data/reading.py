"""Read a source in shares, and go on from what a run that was killed had read of it."""

import contextlib
import functools
import json
import logging
import os
from importlib import metadata
from pathlib import Path
from typing import Any

from gb_keras.data.leftovers import remove_leftovers
from gb_keras.data.scan import (
    Scan,
    files_of_part,
    found,
    is_scanned,
    scan_part,
    scan_part_by_name,
)
from gb_keras.data.source import Source, is_listed
from gb_keras.data.source_version import source_version
from gb_keras.data.workers import BeamWorkers

logger = logging.getLogger(__name__)

_STATE = "state.json"
# For each the source is listed anew, so one has to be worth it: a sixteenth of the work.
_SHARES_OF_ONE_PROCESS = 16


def read_source(
    source: Source,
    target: Path,
    work: Path,
    image_size: int | None,
    workers: BeamWorkers | None,
) -> Scan:
    """Read all images of a source but for what is left of a run to the same target.

    What was left is removed. It is used if it is of the same files, as far as `source_version` can
    tell, and read in the same way by the same versions; of sources without a path it never is.

    Args:
        source: The data set.
        target: The folder that the run is to make; beside it others have left their work.
        work: Where to leave what is read, see `scan_part`, within the unfinished folder.
        image_size: Side in pixels to which the images are resized, or `None`.
        workers: Who reads; `None` for this process.
    """
    state = _state(source, image_size)
    if workers is not None:
        parts = workers.num_shares
    else:
        parts = _SHARES_OF_ONE_PROCESS if state is not None and is_listed(source) else 1
    text = json.dumps({"state": state, "parts": parts})
    num_taken = 0

    def salvage(dead: Path) -> None:
        nonlocal num_taken
        if state is not None:
            num_taken += _take_over(dead / work.name, work, text, parts)

    remove_leftovers(target, salvage)
    if num_taken:
        logger.warning(
            "Going on from a run that was killed: %d of %d shares of %s are read already.",
            num_taken,
            parts,
            source.name,
        )
    (work / _STATE).write_text(text, encoding="utf-8")
    if workers is None:
        for part in range(parts):
            scan_part(source, work, image_size, part, parts)
    else:
        # Sources are not sent to workers, which open them by name.
        share = functools.partial(scan_part_by_name, source.name, work, image_size, parts)
        workers(share, range(parts))
    return found(source, work, parts)


def _state(source: Source, image_size: int | None) -> dict[str, Any] | None:
    """All that decides what is read, or `None` where nobody can tell whether it has changed."""
    version = source_version(source.name)
    if not version:
        return None
    packages = {package: metadata.version(package) for package in ("gb-keras", "pillow")}
    return {"data": source.name, "version": version, "size": image_size, "packages": packages}


def _take_over(dead: Path, work: Path, text: str, parts: int) -> int:
    """Take the finished shares of a dead run, if its state was the same, and count them."""
    num_taken = 0
    with contextlib.suppress(OSError):
        if (dead / _STATE).read_text(encoding="utf-8") != text:
            return 0
        for part in range(parts):
            if is_scanned(dead, part) and not is_scanned(work, part):
                # The one that says that a share is whole comes last.
                for old, new in zip(
                    files_of_part(dead, part), files_of_part(work, part), strict=True
                ):
                    os.replace(old, new)
                num_taken += 1
    return num_taken
