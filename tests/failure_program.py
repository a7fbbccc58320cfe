"""Trainings that fail as they are told to, each in real processes, one after the other.

`python -m tests.failure_program ROUNDS RESULTS`, two JSON files. A round is `{"workers", "run",
"copy", "arguments", "failure": {"name", "workers", "arguments"}}`; where `copy` is a folder, it
gets a copy of the run as it is after the round.
"""

import importlib
import json
import os
import shutil
import signal
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf

from gb_keras import callbacks
from gb_keras.cli import app
from gb_keras.stages import checkpoints
from tests import forks

# `gb_keras.stages.train` the module, whose name the function has taken.
stage = importlib.import_module("gb_keras.stages.train")


def end(number=signal.SIGKILL):
    os.kill(os.getpid(), number)


def in_epoch(epoch, step, number=signal.SIGKILL):
    """A signal in the middle of a step: it is begun, and nothing of it is saved."""

    class Told(checkpoints.EpochCheckpoint):
        def on_train_batch_begin(self, batch, logs=None):
            if (self.num_epochs, self._first_step + batch) == (epoch, step):
                end(number)
            super().on_train_batch_begin(batch, logs)

    stage.EpochCheckpoint = Told


def at_renaming(name, after=False):
    """Killed before a file or folder gets its name, or after."""
    replace = os.replace

    def killing(source, target):
        if Path(target).name == name and not after:
            end()
        replace(source, target)
        if Path(target).name == name:
            end()

    os.replace = killing


def in_state(number):
    """Killed when half of the weights of a save are written."""
    save, calls = keras.Model.save, []

    def killing(self, path):
        save(self, path)
        calls.append(path)
        if len(calls) == number:
            os.truncate(path, os.path.getsize(path) // 2)
            end()

    keras.Model.save = killing


def in_summary(tag, step):
    """Killed in the middle of writing a scalar, when those before it are on the disk."""

    class Summary:
        def __getattr__(self, name):
            return getattr(tf.summary, name)

        def scalar(self, name, data, step):
            if (name, int(step)) == place:
                tf.summary.flush()
                logs = Path(current["run"], "logs")
                newest = max(logs.rglob("*tfevents*"), key=os.path.getmtime)
                with newest.open("ab") as file:
                    file.write(b"\x18\x00\x00")
                end()
            tf.summary.scalar(name, data, step=step)

    place = tag, step
    keras.callbacks.TensorBoard.summary = Summary()


def in_own_summary(step):
    """Killed when half of what the Gradient Balance page shows of a step is on the disk."""
    plain = callbacks.summary.plain

    def killing(taken, at, scalars):
        if at == step:
            tf.summary.flush()
            end()
        plain(taken, at, scalars)

    callbacks.summary.plain = killing


def on_a_full_disk(number):
    """A save of weights finds no space, which the kernel says itself."""
    save, calls = keras.Model.save, []

    def filling(self, path):
        calls.append(path)
        if len(calls) == number:
            os.symlink("/dev/full", path)
        save(self, path)

    keras.Model.save = filling


def after_damage(name):
    """No failure of this process: a file was damaged before it started."""
    file = Path(current["run"], name)
    file.write_bytes(file.read_bytes()[:-100])


FAILURES = {
    each.__name__: each
    for each in (
        in_epoch, at_renaming, in_state, in_summary, in_own_summary, on_a_full_disk, after_damage,
    )
}  # fmt: skip
current = {}


def train(worker):
    """The command of this round, in a process that fails as it shall."""
    failure = current["failure"]
    if worker in failure["workers"]:
        FAILURES[failure["name"]](*failure["arguments"])
    app(["train", *current["arguments"]])


def play(number, entry, folder):
    """One round: exit codes and outputs of its processes, and what files the run has after it."""
    current.update(entry)
    outputs = [Path(folder, f"{number}-{worker}.txt") for worker in range(entry["workers"])]
    codes = forks.run(entry["workers"], train, outputs)
    run = Path(entry["run"])
    if entry["copy"]:
        shutil.copytree(run, entry["copy"])
    return {
        "codes": codes,
        "outputs": [output.read_text() for output in outputs],
        "files": sorted(str(path.relative_to(run)) for path in run.rglob("*")),
    }


if __name__ == "__main__":
    rounds, results = map(Path, sys.argv[1:])
    played = [
        play(number, entry, results.parent)
        for number, entry in enumerate(json.loads(rounds.read_text()))
    ]
    results.write_text(json.dumps(played))
