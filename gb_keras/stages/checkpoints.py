"""The state of a training after each epoch: weights and history, whole or not at all."""

import contextlib
import hashlib
import math
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import pandas as pd

from gb_keras.baselines import OnlineLoss
from gb_keras.stages.files import new_directory, read_json, write_json, write_text

History = dict[str, list[float]]


class EpochCheckpoint(keras.callbacks.Callback):
    """Saves weights, optimizer, loss, random state and history each epoch; goes on from there.

    Keras's `BackupAndRestore` writes weights and number of the epoch one after the other, without
    a history; a process killed in between goes on with weights of another epoch. Here all of an
    epoch is one folder, `epoch-0007`, which appears by a single renaming. The one before is kept,
    too: where the newest has been damaged since, training goes on from there, with a warning.

    The history of all epochs, those before an interruption too, is also kept up to date in
    `history.json` and `history.csv` of the run.

    Args:
        run_dir: The run's folder; checkpoints are kept in its `checkpoints`. Of several workers
            all must be able to read it.
        is_chief: Whether this process writes. Of several workers one does.

    Raises:
        ValueError: All that is left of the checkpoints is damaged.
    """

    def __init__(self, run_dir: str | os.PathLike, is_chief: bool = True):
        super().__init__()
        self.run_dir = Path(run_dir)
        self.folder = self.run_dir / "checkpoints"
        self.is_chief = is_chief
        self.history: History = {}
        # Number of finished epochs. Kept here, since others see late what the chief has written.
        self.num_epochs = self._last_whole()

    def restore(self, model: keras.Model) -> int:
        """Load the last finished epoch, if there is one, into a compiled model.

        Returns:
            The number of finished epochs; 0 if training starts anew.
        """
        if self.is_chief:
            self.folder.mkdir(parents=True, exist_ok=True)
            # What a killed process left half-written or a disk has damaged, and nothing else.
            damaged = [self._path(epoch) for epoch in self._finished() if epoch > self.num_epochs]
            for useless in (*self.folder.glob(".epoch-*"), *damaged):
                shutil.rmtree(useless)
        if not self.num_epochs:
            return 0
        latest = self._path(self.num_epochs)
        # The optimizer's state can only be loaded into variables that exist.
        model.optimizer.build(model.trainable_variables)
        model.load_weights(latest / "state.weights.h5")
        if isinstance(model.loss, OnlineLoss):
            model.loss.set_state(read_json(latest / "loss.json"))
        random_state = read_json(latest / "random.json")
        for variable, state in zip(_random_state(model), random_state, strict=True):
            variable.assign(state)
        self.history = read_json(latest / "history.json")
        self._write_history()
        return self.num_epochs

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Save the epoch, then forget all but the one before.

        Raises:
            FloatingPointError: A loss or metric of the epoch is not finite; nothing is saved.
        """
        values = {name: float(value) for name, value in (logs or {}).items()}
        broken = {name: value for name, value in values.items() if not math.isfinite(value)}
        if broken:
            raise FloatingPointError(
                f"Expected finite losses and metrics. Received in epoch {epoch + 1}: "
                + ", ".join(f"{name}={value}" for name, value in broken.items())
                + ". Train into a new folder with a lower learning_rate, or with "
                "dtype_policy='float32' if it was another."
            )
        for name, value in values.items():
            self.history.setdefault(name, []).append(value)
        with self._written(self._path(epoch + 1)) as partial:
            self.model.save_weights(partial / "state.weights.h5")
            if isinstance(self.model.loss, OnlineLoss):
                # What it has seen of the classes is no weight of the model.
                write_json(partial / "loss.json", self.model.loss.get_state())
            # Nor is what dropout will draw next, which Keras does not save.
            random_state = [variable.numpy().tolist() for variable in _random_state(self.model)]
            write_json(partial / "random.json", random_state)
            write_json(partial / "history.json", self.history)
            write_json(partial / _CHECKSUMS, _checksums(partial))
        if self.is_chief:
            for older in self._finished()[:-2]:
                shutil.rmtree(self._path(older))
        self.num_epochs = epoch + 1
        self._write_history()

    def remove(self) -> None:
        """Remove the checkpoints of a run that is finished."""
        if self.is_chief:
            shutil.rmtree(self.folder)

    @contextlib.contextmanager
    def _written(self, target: Path) -> Iterator[Path]:
        """A folder to write into, which becomes `target`; on other workers it is thrown away.

        All of them save, because metrics of several workers are read by all of them together.
        """
        if self.is_chief:
            with new_directory(target) as partial:
                yield partial
        else:
            with tempfile.TemporaryDirectory() as thrown_away:
                yield Path(thrown_away)

    def _path(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch:04d}"

    def _finished(self) -> list[int]:
        if not self.folder.exists():
            return []
        matches = (re.fullmatch(r"epoch-(\d+)", path.name) for path in self.folder.iterdir())
        return sorted(int(match[1]) for match in matches if match)

    def _last_whole(self) -> int:
        """The last epoch whose files are what was written; 0 where none was finished yet."""
        found = self._finished()
        damaged: list[str] = []
        for epoch in reversed(found):
            if _is_whole(self._path(epoch)):
                break
            damaged.append(self._path(epoch).name)
        if not damaged:
            return max(found, default=0)
        if len(damaged) == len(found):
            raise ValueError(
                f"Expected a whole checkpoint in {str(self.folder)!r}. Received: "
                f"{', '.join(reversed(damaged))}, damaged. Train into another folder, or remove "
                "this run to start it anew."
            )
        warnings.warn(
            f"Checkpoints in {str(self.folder)!r} are damaged: {', '.join(damaged)}. Going on from "
            f"{self._path(epoch).name}.",
            stacklevel=3,
        )
        return epoch

    def _write_history(self) -> None:
        if not self.is_chief:
            return
        write_json(self.run_dir / "history.json", self.history)
        table = pd.DataFrame(self.history)
        table.insert(0, "epoch", range(1, len(table) + 1))
        write_text(self.run_dir / "history.csv", table.to_csv(index=False))


_CHECKSUMS = "checksums.json"


def _checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of a checkpoint but their own list."""
    sums = {}
    for path in sorted(folder.iterdir()):
        if path.name != _CHECKSUMS:
            with path.open("rb") as file:
                sums[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return sums


def _is_whole(folder: Path) -> bool:
    """Whether a checkpoint's files are those that were written."""
    try:
        return read_json(folder / _CHECKSUMS) == _checksums(folder)
    except (OSError, ValueError):  # Missing, unreadable, or no JSON.
        return False


def _random_state(model: keras.Model) -> list[keras.Variable]:
    """Where the layers of a model that draw random numbers are in their sequences."""
    return [variable for variable in model.variables if variable.name == "seed_generator_state"]
