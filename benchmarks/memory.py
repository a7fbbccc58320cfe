"""Peak memory of this process, or of a command with all that it starts, on Linux."""

import re
import resource
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

_SECONDS_BETWEEN_LOOKS = 0.05


def peak_mib() -> float:
    """Peak resident memory since the process began, or since `reset_peak`, in MiB."""
    # Not `resource.getrusage`, whose peak of a new process counts its parent's memory, too.
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak is not None
    return int(peak[1]) / 1024


def reset_peak() -> None:
    """Forget the peak so far."""
    Path("/proc/self/clear_refs").write_text("5")


def run_with_peak(command: Sequence[str]) -> tuple[float, float, float]:
    """Run a command to its end.

    Returns:
        Seconds that it took; seconds of processors that it and the processes that it has started
        took; the most resident memory that they held at one time, in MiB, where what several of
        them share counts for each.

    Raises:
        CalledProcessError: It has failed.
    """
    start, before = time.perf_counter(), _processor_seconds()
    peak = 0.0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, sum(map(_resident_mib, _with_children(process.pid))))
            time.sleep(_SECONDS_BETWEEN_LOOKS)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(command))
    return time.perf_counter() - start, _processor_seconds() - before, peak


def _processor_seconds() -> float:
    """Of all processes that this one has started and waited for, and theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _with_children(process: int) -> list[int]:
    """A process and all below it; those that end meanwhile may be missing."""
    found = [process]
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:
            continue
        found += [each for child in children for each in _with_children(int(child))]
    return found


def _resident_mib(process: int) -> float:
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    # One that has ended and is not yet waited for has none.
    resident = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(resident[1]) / 1024 if resident else 0.0
