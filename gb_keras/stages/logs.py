"""TensorBoard logs that go back with a training to where its checkpoint is."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from gb_keras.stages.files import read_json, write_json

# Where Keras and our own callback write, each to files of its own.
_FOLDERS = ("", "train", "validation")


class PromptTensorBoard(keras.callbacks.TensorBoard):
    """Keras's callback, which has written each epoch when the epoch is saved.

    Keras's own keeps up to ten summaries to itself, which are lost where a process is killed.
    """

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write the epoch out."""
        super().on_epoch_end(epoch, logs)
        for writer in self._writers.values():
            writer.flush()


class LogPosition:
    """How far the event files of a run are written; they can be cut back to there.

    A killed training has logged more than it has saved. Trained again, that would be in the logs
    twice; and what it was about to write when it was killed would be there in part.

    Args:
        run_dir: The run's folder.
        log_dir: The folder of its logs, which no other training writes to meanwhile.
    """

    def __init__(self, run_dir: str | os.PathLike, log_dir: str | os.PathLike):
        self._log_dir = os.fspath(log_dir)
        # A run that is moved with its logs finds them again.
        within = Path(self._log_dir).is_relative_to(run_dir)
        name = os.path.relpath(self._log_dir, run_dir) if within else self._log_dir
        self._name = name

    def write(self, file: Path) -> None:
        """Write down how far the logs are.

        Args:
            file: The file to write, as JSON.
        """
        write_json(file, {"log_dir": self._name, "bytes": self._sizes()})

    def go_back(self, file: Path) -> None:
        """Cut the logs back to where they were; nothing where they are in another folder.

        Args:
            file: What `write` has written.
        """
        stored = read_json(file)
        if stored["log_dir"] != self._name:
            return
        for name, size in self._sizes().items():
            self._cut(name, size, stored["bytes"])

    def _sizes(self) -> dict[str, int]:
        """Bytes of each event file, by its path within the folder."""
        sizes = {}
        for folder in _FOLDERS:
            path = os.path.join(self._log_dir, folder)
            names = tf.io.gfile.listdir(path) if tf.io.gfile.isdir(path) else ()
            for name in sorted(names):
                if "tfevents" in name:
                    inner = os.path.join(folder, name)
                    sizes[inner] = tf.io.gfile.stat(os.path.join(path, name)).length
        return sizes

    def _cut(self, name: str, size: int, wanted: Mapping[str, int]) -> None:
        path = os.path.join(self._log_dir, name)
        if name not in wanted:
            tf.io.gfile.remove(path)
        elif size > wanted[name]:
            # Under a name that TensorBoard does not read.
            partial = os.path.join(os.path.dirname(path), ".partial")
            with tf.io.gfile.GFile(path, "rb") as file:
                kept = file.read(wanted[name])
            with tf.io.gfile.GFile(partial, "wb") as file:
                file.write(kept)
            tf.io.gfile.rename(partial, path, overwrite=True)
