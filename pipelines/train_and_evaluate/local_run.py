"""The pipeline on this machine: every task a process in this Python environment."""

import contextlib
import datetime
import io
import itertools
import logging
import os
import re
import signal
import sys
import tempfile
import textwrap
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from kfp import local
from kfp.dsl.graph_component import GraphComponent

# A line of KFP itself; what a task prints is indented.
_OF_KFP = re.compile(r"\d\d:\d\d:\d\d\.\d+ - [A-Z]+ - ")
# What tells how far the pipeline is: tasks that start, end or are skipped, and Keras's epochs.
_PROGRESS = re.compile(
    _OF_KFP.pattern + "(Executing task|Task .*(finished|cache hit|Retrying))"
    r"|    (Epoch \d+/\d+$|\d+/\d+ - \d+)"
)
_COLOUR = re.compile(r"\x1b\[\d+m")


class PipelineError(Exception):
    """A task of the pipeline failed; the message says which, why and where all of it stands."""


def run(pipeline: GraphComponent, arguments: Mapping[str, Any], output: Path) -> dict[str, Any]:
    """Run a pipeline; show its progress, and keep everything that is printed in a file.

    Each run has a folder and a log of its own in `output`. A task that ran there before with the
    same inputs is not run again, unless its caching is off.

    Args:
        pipeline: The pipeline.
        arguments: Values of its parameters.
        output: Folder for the results of all runs.

    Returns:
        The outputs of the pipeline by name.

    Raises:
        PipelineError: A task failed.
    """
    output = output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    local.init(
        runner=local.SubprocessRunner(use_venv=False),
        pipeline_root=str(output),
        # KFP removes this folder after the run, so it must be one that holds nothing else.
        workspace_root=tempfile.mkdtemp(prefix=".workspace-", dir=output),
        enable_caching=True,
    )
    # For the processes of the tasks.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with warnings.catch_warnings(), _log(output) as log:
        # The runner cannot know that this environment holds what the image holds.
        warnings.filterwarnings("ignore", ".*non-Python base image", RuntimeWarning)
        try:
            return dict(pipeline(**arguments).outputs)
        except RuntimeError as error:
            message = _COLOUR.sub("", str(error))
            raise PipelineError(f"{message}\n{_last_error(log)}\nAll output: {log}") from None


@contextlib.contextmanager
def _log(output: Path) -> Iterator[Path]:
    """Send what is printed to a new file, and what tells the progress to the terminal too."""
    path = output / f"log-{datetime.datetime.now():%Y-%m-%d-%H-%M-%S-%f}.txt"
    with path.open("x", encoding="utf-8", buffering=1) as file:
        tee = _Tee(file, sys.stdout)
        with contextlib.redirect_stdout(tee), _logging_to(tee), _stopping_on_interrupt(tee):
            yield path


class _Tee(io.TextIOBase):
    """Writes all into a file, and lines about the progress to the terminal."""

    def __init__(self, file: TextIO, terminal: TextIO):
        self.stopped = False
        self._file = file
        self._terminal = terminal
        self._line = ""

    def write(self, text: str) -> int:
        if self.stopped:
            raise KeyboardInterrupt
        plain = _COLOUR.sub("", text)
        self._file.write(plain)
        *lines, self._line = (self._line + plain).split("\n")
        for line in lines:
            if _PROGRESS.match(line):
                # Not print, which KFP replaces while a task runs.
                self._terminal.write(line.removeprefix(" " * 4) + "\n")
                self._terminal.flush()
        return len(text)


@contextlib.contextmanager
def _logging_to(stream: _Tee) -> Iterator[None]:
    """What KFP logs between tasks, as that a task is skipped, goes where the rest goes."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        logging.Formatter("%(asctime)s.%(msecs)03d - %(levelname)s - %(message)s", "%H:%M:%S")
    )
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.setLevel(level)
        root.removeHandler(handler)


@contextlib.contextmanager
def _stopping_on_interrupt(tee: _Tee) -> Iterator[None]:
    """Let an interrupt end the whole run.

    KFP runs the iterations of a loop in threads, and after an interrupt it would still start those
    that wait. All that it does begins with a line of its log, so that is where it is stopped.
    """

    def stop(*_: Any) -> None:
        tee.stopped = True
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _last_error(log: Path) -> str:
    """The last traceback in a log."""
    lines = log.read_text(encoding="utf-8").splitlines()
    starts = [index for index, line in enumerate(lines) if "Traceback (most recent" in line]
    last = itertools.takewhile(
        lambda line: not _OF_KFP.match(line), lines[max(starts, default=0) :]
    )
    return textwrap.dedent("\n".join(last)).strip()
