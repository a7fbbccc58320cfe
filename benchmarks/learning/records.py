"""Records of trials: one line of JSON each, in a file that an interruption leaves whole."""

import json
import os
from pathlib import Path
from typing import Any


def read(path: str | os.PathLike) -> list[dict[str, Any]]:
    """The records of a file; none where there is no file yet.

    A last line that was not written to its end, because the machine stopped, is left out.

    Raises:
        ValueError: Another line is no record, or a trial is recorded twice.
    """
    if not Path(path).exists():
        return []
    records: dict[str, dict[str, Any]] = {}
    lines = Path(path).read_text(encoding="utf-8").splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        if number == len(lines) and not line.endswith("\n"):
            continue
        try:
            record = json.loads(line)
            key = record["key"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"Expected a record of a trial in JSON. Received: line {number} of {path}, "
                f"{line[:60]!r}. Remove the line; its trial then runs again."
            ) from error
        if key in records:
            raise ValueError(
                f"Expected each trial once. Received {key!r} again in line {number} of {path}. "
                "Remove one of the lines."
            )
        records[key] = record
    return list(records.values())


def append(path: str | os.PathLike, record: dict[str, Any]) -> None:
    """Add a record to a file, on the disk when this returns.

    Args:
        path: The file; made with its folder where it does not exist.
        record: The record, ready for JSON.
    """
    line = json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab+") as file:
        _cut_half_written_line(file)
        file.write(line.encode("utf-8"))
        file.flush()
        os.fsync(file.fileno())


def _cut_half_written_line(file: Any) -> None:
    """Remove what an interruption left of a last line."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    whole = file.read().rfind(b"\n") + 1
    if whole < size:
        file.truncate(whole)
    file.seek(0, os.SEEK_END)
