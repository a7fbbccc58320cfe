"""Peak memory of this process, on Linux."""

import re
from pathlib import Path


def peak_mib() -> float:
    """Peak resident memory since the process began, or since `reset_peak`, in MiB."""
    # Not `resource.getrusage`, whose peak of a new process counts its parent's memory, too.
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak is not None
    return int(peak[1]) / 1024


def reset_peak() -> None:
    """Forget the peak so far."""
    Path("/proc/self/clear_refs").write_text("5")
