"""Step time and peak memory of balanced training against plain Keras.

Both models train on the same batches in turn, block by block in one process, so that a change of
the machine's speed meets both alike. Reported is the median over pairs of blocks of the ratio of
their times. Peak memory is read in a process of its own for each model, on Linux.

    python -m benchmarks.overhead [--pairs 61] [--case small_cnn ...] [--json FILE]
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

import gb_keras
from benchmarks.memory import peak_mib

SECONDS_PER_BLOCK = 0.4


def mlp() -> tuple[keras.Model, np.ndarray, int]:
    """Two layers on 28x28 images, 10 classes: next to no work in a step."""
    return _dense([784], [128], 10), _images(64, [784]), 10


def small_cnn() -> tuple[keras.Model, np.ndarray, int]:
    """Three convolutions on 32x32x3 images, 10 classes."""
    inputs = keras.Input((32, 32, 3))
    x = inputs
    for filters in (32, 64, 64):
        x = keras.layers.Conv2D(filters, 3, activation="relu", padding="same")(x)
        x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(128, activation="relu")(x)
    return keras.Model(inputs, keras.layers.Dense(10)(x)), _images(64, [32, 32, 3]), 10


def resnet50_head() -> tuple[keras.Model, np.ndarray, int]:
    """The classifier of ResNet-50: 2,048 features, 1,000 classes."""
    return _dense([2048], [], 1000), _images(64, [2048]), 1000


def classes_10000() -> tuple[keras.Model, np.ndarray, int]:
    """512 features, 10,000 classes, 128 samples."""
    return _dense([512], [], 10_000), _images(128, [512]), 10_000


def classes_10000_small() -> tuple[keras.Model, np.ndarray, int]:
    """256 features, 10,000 classes, 64 samples: the loss is a large part of so small a step."""
    return _dense([256], [], 10_000), _images(64, [256]), 10_000


CASES: dict[str, tuple[Callable, dict]] = {
    "mlp": (mlp, {}),
    "small_cnn": (small_cnn, {}),
    "resnet50_head": (resnet50_head, {}),
    "classes_10000": (classes_10000, {}),
    "classes_10000_small": (classes_10000_small, {}),
    "small_cnn_10_bins": (small_cnn, {"bins": 10}),
    "small_cnn_100_bins": (small_cnn, {"bins": 100}),
    "small_cnn_1000_bins": (small_cnn, {"bins": 1000}),
}


def compiled(case: str, balanced: bool) -> tuple[keras.Model, tf.data.Dataset]:
    """A compiled model of a case and the endless data set it trains on."""
    keras.utils.set_random_seed(0)
    build, options = CASES[case]
    model, images, num_classes = build()
    labels = np.random.default_rng(0).integers(0, num_classes, len(images))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    if balanced:
        model = gb_keras.GradientBalancedModel.from_model(model)
        loss = gb_keras.GradientBalancedLoss(loss, **options)
    model.compile("adam", loss, metrics=["accuracy"])
    return model, tf.data.Dataset.from_tensors((images, labels)).repeat()


class Runner:
    """Trains a model a number of steps at a time and tells the seconds."""

    def __init__(self, case: str, balanced: bool):
        self.model, data = compiled(case, balanced)
        self.iterator = iter(data)
        self.model.make_train_function()

    def seconds(self, steps: int) -> float:
        """Seconds for a number of steps, the last one's result waited for."""
        start = time.perf_counter()
        for _ in range(steps):
            logs = self.model.train_function(self.iterator)
        np.asarray(logs["loss"])
        return time.perf_counter() - start


def time_ratio(case: str, pairs: int) -> dict[str, float]:
    """Medians over pairs of blocks: milliseconds of a step for each model, and their ratio."""
    plain, balanced = Runner(case, balanced=False), Runner(case, balanced=True)
    for runner in (plain, balanced):
        runner.seconds(5)
    steps = max(3, round(SECONDS_PER_BLOCK / (plain.seconds(10) / 10)))
    measured = []
    for pair in range(pairs):
        # The order alternates: who goes first finds other caches than who goes second.
        order = (plain, balanced) if pair % 2 else (balanced, plain)
        seconds = {runner: runner.seconds(steps) / steps for runner in order}
        measured.append((seconds[plain], seconds[balanced]))
    ratios = [b / p for p, b in measured]
    quartiles = statistics.quantiles(ratios, n=4)
    return {
        "plain_ms": 1e3 * statistics.median(p for p, _ in measured),
        "balanced_ms": 1e3 * statistics.median(b for _, b in measured),
        "time_ratio": statistics.median(ratios),
        "time_ratio_quartiles": [quartiles[0], quartiles[2]],
        "pairs": pairs,
        "steps_per_block": steps,
    }


def peak_memory(case: str, balanced: bool) -> float:
    """Peak resident memory of a process that trains one model, in MiB."""
    command = [sys.executable, "-m", "benchmarks.overhead", "--memory", case]
    command += ["--balanced"] if balanced else []
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _dense(shape: list[int], hidden: list[int], num_classes: int) -> keras.Model:
    inputs = keras.Input(shape)
    x = inputs
    for units in hidden:
        x = keras.layers.Dense(units, activation="relu")(x)
    return keras.Model(inputs, keras.layers.Dense(num_classes)(x))


def _images(batch_size: int, shape: list[int]) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((batch_size, *shape)).astype("float32")


def main() -> None:
    """Measure, print a table, and optionally write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=61, help="pairs of blocks per case")
    parser.add_argument("--case", action="append", choices=CASES, help="repeatable; default all")
    parser.add_argument("--json", help="write the figures to this file")
    parser.add_argument("--memory", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--balanced", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory:
        Runner(arguments.memory, arguments.balanced).seconds(50)
        print(peak_mib())
        return

    machine = f"{platform.machine()}, {os.cpu_count()} cores, TensorFlow {tf.__version__}"
    devices = [device.name for device in tf.config.list_physical_devices("GPU")]
    print(f"{machine}, Keras {keras.__version__}, GPUs: {devices or 'none'}\n")
    print("| case | plain ms | balanced ms | time ratio | quartiles | memory ratio |")
    print("|---|---|---|---|---|---|")
    figures = {}
    for case in arguments.case or CASES:
        figure = time_ratio(case, arguments.pairs)
        memory = [peak_memory(case, balanced) for balanced in (False, True)]
        figure |= {"plain_mib": memory[0], "balanced_mib": memory[1]}
        figures[case] = figure
        low, high = figure["time_ratio_quartiles"]
        print(
            f"| {case} | {figure['plain_ms']:.2f} | {figure['balanced_ms']:.2f} | "
            f"{figure['time_ratio']:.3f} | {low:.3f} to {high:.3f} | {memory[1] / memory[0]:.3f} |",
            flush=True,
        )
    if arguments.json:
        from gb_keras.stages.files import write_json

        write_json(arguments.json, {"machine": machine, "figures": figures})


if __name__ == "__main__":
    main()
