"""The state of a training: weights, history and place in the data, whole or not at all."""

import contextlib
import logging
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from gb_keras import distribution
from gb_keras.baselines import OnlineLoss
from gb_keras.stages import checkpoint_folder
from gb_keras.stages.files import (
    new_directory,
    read_json,
    remove_leftovers,
    write_json,
    write_text,
)
from gb_keras.stages.history import History
from gb_keras.stages.logs import LogPosition
from gb_keras.stages.termination import EXIT_CODE, Termination

_logger = logging.getLogger(__name__)


class EpochCheckpoint(keras.callbacks.Callback):
    """Saves weights, optimizer, loss, random state and history each epoch; goes on from there.

    Keras's `BackupAndRestore` writes weights and number of the epoch one after the other, without
    a history; a process killed in between goes on with weights of another epoch. Here all of an
    epoch is one folder, `epoch-0007`, which appears by a single renaming. The one before is kept,
    too: where the newest has been damaged since, training goes on from there, with a warning.

    Within an epoch the same is saved every `every_steps` steps, as `epoch-0007-step-00000120`, with
    what the metrics have counted so far; and once more where the process, or another worker, is
    told to end, within `saving_on_termination`.

    The history of all epochs, those before an interruption too, is also kept up to date in
    `history.json` and `history.csv` of the run. TensorBoard's logs are cut back to where they were
    when the state was saved, so that nothing of what is trained again is there twice.

    Args:
        run_dir: The run's folder; checkpoints are kept in its `checkpoints`. Of several workers
            all must be able to read it.
        is_chief: Whether this process writes. Of several workers one does.
        every_steps: Steps after which to save within an epoch, too; None for not at all.
        log_dir: Folder of the run's logs; defaults to its `logs`. Callbacks that write there must
            come before this one.

    Raises:
        ValueError: All that is left of the checkpoints is damaged.
    """

    def __init__(
        self,
        run_dir: str | os.PathLike,
        is_chief: bool = True,
        every_steps: int | None = None,
        log_dir: str | os.PathLike | None = None,
    ):
        super().__init__()
        self.run_dir = Path(run_dir)
        self.folder = self.run_dir / "checkpoints"
        self.is_chief = is_chief
        self.every_steps = every_steps
        self.history: History = {}
        # Number of finished epochs, and of steps in the next one. Kept here, since others see late
        # what the chief has written.
        self.num_epochs, self.num_steps = checkpoint_folder.last_whole(self.folder)
        self._first_step = 0
        self._metrics: list[np.ndarray] = []
        self._logs = LogPosition(run_dir, log_dir or self.run_dir / "logs")
        self._termination = Termination()

    def restore(self, model: keras.Model) -> bool:
        """Load what was saved last, if anything, into a compiled model.

        Returns:
            Whether there was something; else training starts anew.
        """
        if self.is_chief:
            self._clean_up()
        if self._place == checkpoint_folder.START:
            return False
        latest = self._path(self._place)
        # The optimizer's state can only be loaded into variables that exist.
        model.optimizer.build(model.trainable_variables)
        model.load_weights(latest / _STATE)
        if isinstance(model.loss, OnlineLoss):
            model.loss.set_state(read_json(latest / "loss.json"))
        random_state = read_json(latest / "random.json")
        for variable, state in zip(_random_state(model), random_state, strict=True):
            variable.assign(state)
        self.history = read_json(latest / "history.json")
        self._metrics = []
        if self.num_steps:
            with np.load(latest / _METRICS) as metrics:
                self._metrics = [metrics[name] for name in metrics.files]
        self._write_history()
        return True

    def _clean_up(self) -> None:
        """Go back to what was saved last, in all that a killed process may have left."""
        saved = checkpoint_folder.saved(self.folder)
        damaged = [self._path(each) for each in saved if each > self._place]
        # What is half-written or a disk has damaged, and nothing else.
        for useless in (*self.folder.glob(".epoch-*"), *damaged):
            shutil.rmtree(useless)
        remove_leftovers(self.run_dir, *_FILES_OF_RUN)
        before_training = self.folder / _LOGS
        if not before_training.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._logs.write(before_training)
        if self._place == checkpoint_folder.START:
            self._logs.go_back(before_training)
        else:
            self._logs.go_back(self._path(self._place) / _LOGS)

    @contextlib.contextmanager
    def saving_on_termination(self) -> Iterator[None]:
        """On SIGTERM, by which Kubernetes and batch systems end a process, save first, then exit.

        The step at hand is finished; the exit code is 143, as without this. Of several workers all
        save and exit, whichever of them was told. Only the main thread can be told.
        """
        with self._termination.noted():
            yield

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Count steps from where the epoch was left."""
        self._first_step, self.num_steps = self.num_steps, 0

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Tell other workers where this one has been told to end."""
        self._termination.tell_others()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Save where it is time to, and exit where the training has been told to end."""
        self._add_to_metrics()
        if batch + 1 == self.params["steps"]:  # The end of the epoch saves it.
            return
        num_steps = self._first_step + batch + 1
        told = self._termination.after_step()
        if told or (self.every_steps and num_steps % self.every_steps == 0):
            self._save(self.num_epochs, num_steps)
        if told:
            self._exit(self.num_epochs, num_steps)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Save the epoch, then forget all but what was saved before it.

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
        self.num_epochs = epoch + 1
        self._save(self.num_epochs, 0)
        self._write_history()
        if self._termination.after_epoch(self.model.distribute_strategy):
            self._exit(self.num_epochs, 0)

    def _add_to_metrics(self) -> None:
        """After the first step, add what the steps before the interruption have counted.

        Not before it: Keras starts an epoch with metrics of nothing, and some are built by their
        first batch. All that they keep are sums.
        """
        before, self._metrics = self._metrics, []
        if before:
            for variable, value in zip(_metric_variables(self.model), before, strict=True):
                variable.assign(variable.value + value)

    def _exit(self, num_epochs: int, num_steps: int) -> None:
        # A worker that leaves while others still save would end them with an error.
        distribution.require_same(self.model.distribute_strategy, "number of steps", num_steps)
        _logger.warning(
            "Told to end: what was trained is saved in %s. Go on with resume=True (--resume).",
            self._path((num_epochs, num_steps)),
        )
        raise SystemExit(EXIT_CODE)

    def _save(self, num_epochs: int, num_steps: int) -> None:
        with self._written(self._path((num_epochs, num_steps))) as partial:
            # As a model: HDF5, to which weights alone would be written, crashes on a full disk.
            self.model.save(partial / _STATE)
            if isinstance(self.model.loss, OnlineLoss):
                # What it has seen of the classes is no weight of the model.
                write_json(partial / "loss.json", self.model.loss.get_state())
            # Nor is what dropout will draw next, which Keras does not save.
            random_state = [variable.numpy().tolist() for variable in _random_state(self.model)]
            write_json(partial / "random.json", random_state)
            write_json(partial / "history.json", self.history)
            if num_steps:
                np.savez(partial / _METRICS, *map(np.asarray, _metric_variables(self.model)))
            if self.is_chief:
                self._logs.write(partial / _LOGS)
            checkpoint_folder.seal(partial)
        if self.is_chief:
            for older in checkpoint_folder.saved(self.folder)[:-2]:
                shutil.rmtree(self._path(older))

    def remove(self) -> None:
        """Remove the checkpoints of a run that is finished: they are all there, or none is."""
        if self.is_chief:
            removed = self.folder.with_name(f".{self.folder.name}")
            os.replace(self.folder, removed)
            shutil.rmtree(removed)

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

    @property
    def _place(self) -> checkpoint_folder.Place:
        return self.num_epochs, self.num_steps

    def _path(self, place: checkpoint_folder.Place) -> Path:
        return checkpoint_folder.path(self.folder, place)

    def _write_history(self) -> None:
        if not self.is_chief:
            return
        write_json(self.run_dir / "history.json", self.history)
        table = pd.DataFrame(self.history)
        table.insert(0, "epoch", range(1, len(table) + 1))
        write_text(self.run_dir / "history.csv", table.to_csv(index=False))


_FILES_OF_RUN = (
    "config.json",
    "history.json",
    "history.csv",
    "gradient_density.json",
    "model.keras",
)
_STATE = "state.keras"
_METRICS = "metrics.npz"
_LOGS = "logs.json"


def _metric_variables(model: keras.Model) -> list[keras.Variable]:
    """What metrics have counted since the epoch began, which is not among a model's weights."""
    return [variable for metric in model.metrics for variable in metric.variables]


def _random_state(model: keras.Model) -> list[keras.Variable]:
    """Where the layers of a model that draw random numbers are in their sequences."""
    return [variable for variable in model.variables if variable.name == "seed_generator_state"]
