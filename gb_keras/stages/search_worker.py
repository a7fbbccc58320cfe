"""Processes that train the trials of a search, each with a TensorFlow of its own.

A process trains one trial after the other. What it says goes through a pipe to the search, which
alone writes to the study; it answers after each epoch whether the trial is worth going on.
"""

import contextlib
import dataclasses
import multiprocessing
import multiprocessing.connection
import os
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from gb_keras.stages.files import read_json
from gb_keras.stages.search_space import METRIC
from gb_keras.stages.train import train

# New processes: TensorFlow does not survive a fork.
_processes = multiprocessing.get_context("spawn")


@dataclasses.dataclass(frozen=True)
class Epochs:
    """A trial has finished an epoch; its process waits to be told whether to go on.

    Attributes:
        values: The metric after each epoch so far.
    """

    values: list[float]


@dataclasses.dataclass(frozen=True)
class End:
    """A trial has ended.

    Attributes:
        state: `"complete"`, `"pruned"` or `"failed"`.
        values: The metric after each epoch of it.
        error: Why it has failed.
    """

    state: str
    values: list[float]
    error: str = ""


class Worker:
    """A process that trains trials, seen from the search.

    It ends with this process, however this one ends.

    Args:
        index: Number of the process, from 0 on.
        shares_gpus: Whether there are others. Then each takes one of the GPUs in turn, and of its
            memory no more than it needs.
    """

    def __init__(self, index: int, shares_gpus: bool):
        self.index = index
        self.connection, theirs = _processes.Pipe()
        self._process = _processes.Process(
            target=_work, args=(theirs, index if shares_gpus else None), daemon=True
        )
        self._process.start()
        theirs.close()

    def start(self, data_dir: str | os.PathLike, run_dir: Path, options: dict[str, Any]) -> None:
        """Train a trial, or go on with it.

        Args:
            data_dir: As in `train`.
            run_dir: Folder of the trial's run.
            options: Other options of `train`.
        """
        self._send((data_dir, run_dir, options))

    def receive(self) -> Epochs | End:
        """What the process says next; where it has died, that the trial has failed."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self._process.join()
            return End("failed", [], f"Its process ended with exit code {self._process.exitcode}.")

    def answer(self, go_on: bool) -> None:
        """Tell a process that waits after an epoch whether to go on."""
        self._send(go_on)

    def _send(self, message: Any) -> None:
        # Of a process that has died, what is received next tells.
        with contextlib.suppress(OSError):
            self.connection.send(message)

    @property
    def is_alive(self) -> bool:
        """Whether it can train another trial."""
        return self._process.is_alive()

    def stop(self) -> None:
        """Tell the process to end; a trial that trains saves its state first."""
        self._process.terminate()
        self.connection.close()  # It may be waiting for an answer.

    def join(self) -> None:
        """Wait for the end of a process that was told to."""
        self._process.join()


class _PrunedError(Exception):
    """The trial is not worth going on."""


class _Report(keras.callbacks.Callback):
    """Tells the search of each epoch, after its state is saved."""

    def __init__(self, connection: multiprocessing.connection.Connection, run_dir: Path):
        super().__init__()
        self.connection = connection
        self.run_dir = run_dir

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        try:
            self.connection.send(Epochs(_values(self.run_dir)))
            go_on = self.connection.recv()
        except (EOFError, OSError):  # The search has ended; the state is saved.
            raise SystemExit(1) from None
        if not go_on:
            raise _PrunedError


def _work(connection: multiprocessing.connection.Connection, gpu: int | None) -> None:
    """What the process does."""
    # Ctrl-C is for the search, which then ends its processes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if gpu is not None:
        _take_gpu(gpu)
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        connection.send(_trial(connection, *task))


def _trial(
    connection: multiprocessing.connection.Connection,
    data_dir: str | os.PathLike,
    run_dir: Path,
    options: dict[str, Any],
) -> End:
    try:
        # As in a new process.
        keras.utils.clear_session()
        report = _Report(connection, run_dir)
        # Nothing is done where it was finished without the search hearing of it.
        train(data_dir, run_dir, **options, resume=True, callbacks=[report])
        return End("complete", _values(run_dir))
    except _PrunedError:
        end = End("pruned", _values(run_dir))
    # One setting of many: memory that does not suffice, numbers that overflow. The others go on.
    except Exception as error:
        end = End("failed", [], f"{type(error).__name__}: {error}")
    shutil.rmtree(run_dir / "checkpoints", ignore_errors=True)
    return end


def _values(run_dir: Path) -> list[float]:
    return read_json(run_dir / "history.json")[METRIC]


def _end_with_parent() -> None:
    """A search that is killed leaves no process behind."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _take_gpu(index: int) -> None:
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        gpu = gpus[index % len(gpus)]
        tf.config.set_visible_devices(gpu, "GPU")
        tf.config.experimental.set_memory_growth(gpu, True)
