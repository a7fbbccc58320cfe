"""Read what the callback has written to a directory, without a TensorBoard."""

import os
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from tensorboard.backend.event_processing import event_file_loader
from tensorboard.compat.proto import event_pb2
from tensorboard.util import tensor_util

from gb_keras.tensorboard import metadata


def events(log_dir: str | os.PathLike) -> Iterator[event_pb2.Event]:
    """Events with summaries, in the order of the files; none where there is no such directory.

    A file that ends in the middle of an event, as that of a killed training may, is read up to
    there.

    Args:
        log_dir: Directory of a run.
    """
    log_dir = os.fspath(log_dir)
    if not tf.io.gfile.isdir(log_dir):
        return
    for name in sorted(tf.io.gfile.listdir(log_dir), key=_by_numbers):
        if name.endswith(metadata.FILE_SUFFIX):
            for event in event_file_loader.EventFileLoader(os.path.join(log_dir, name)).Load():
                if event.HasField("summary"):
                    yield event


def _by_numbers(name: str) -> list[tuple[int, str]]:
    """Sorts event files as they were made: the tenth writer of a second after the ninth."""
    return [(int(part) if part.isdecimal() else -1, part) for part in name.split(".")]


def last_step(log_dir: str | os.PathLike) -> tuple[int, bool]:
    """The last step that was written to a directory, and whether the classes' names were.

    Read from the files themselves, since a killed training may have lost its newest events.

    Args:
        log_dir: Directory of a run.

    Returns:
        The step, -1 for none, and whether there are names.
    """
    step, names = -1, False
    for event in events(log_dir):
        step = max(step, event.step)
        names |= any(value.tag.endswith("/class_names") for value in event.summary.value)
    return step, names


def density_over_steps(log_dir: str | os.PathLike, statistic: str = "output") -> dict[str, Any]:
    """Density and mean weights by gradient norm over the steps of a run.

    Args:
        log_dir: Directory of a run.
        statistic: Name of the statistic.

    Returns:
        `{"steps", "density", "weights"}`: steps, and for each `bins` numbers, as lists; weights
        are None where there is no sample. Empty lists where nothing was written.
    """
    found: dict[str, dict[int, list[float]]] = {"density": {}, "weights": {}}
    for event in events(log_dir):
        for value in event.summary.value:
            for kind, by_step in found.items():
                if value.tag == metadata.tag(statistic, kind):
                    # A training that began anew goes back in steps: what was written last counts.
                    by_step[event.step] = tensor_util.make_ndarray(value.tensor).tolist()
    steps = sorted(found["density"].keys() & found["weights"].keys())
    return {
        "steps": steps,
        "density": [found["density"][step] for step in steps],
        "weights": [
            [None if weight != weight else weight for weight in found["weights"][step]]
            for step in steps
        ],
    }
