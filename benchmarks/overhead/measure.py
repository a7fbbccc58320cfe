"""Times models side by side, and reads the memory of each in a process of its own."""

import statistics
import subprocess
import sys
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import gb_keras
from benchmarks.memory import peak_mib
from benchmarks.overhead.cases import CASES, Case
from benchmarks.overhead.rivals import GHMC, Seesaw
from gb_keras.stages.precision import dtype_policy

SECONDS_PER_BLOCK = 0.4
PLAIN, BALANCED = "plain", "balanced"
RIVALS = ("ghm_c", "seesaw")


class Runner:
    """Trains a model a number of steps at a time and tells the seconds.

    Args:
        name: A case.
        variant: `"plain"`, `"balanced"` or one of `RIVALS`.
    """

    def __init__(self, name: str, variant: str):
        case = CASES[name]
        keras.utils.set_random_seed(0)
        with dtype_policy(case.policy):
            self.model = _compiled(case, variant)
        generator = np.random.default_rng(0)
        inputs = case.inputs(generator)
        outputs = self.model.compute_output_shape(inputs.shape)
        if case.multi_label:
            labels = (generator.random((len(inputs), outputs[-1])) < 0.01).astype("float32")
        else:
            labels = generator.integers(0, outputs[-1], (len(inputs), *outputs[1:-1]))
        self.batch = inputs, labels
        self.iterator = iter(tf.data.Dataset.from_tensors(self.batch).repeat())
        self.model.make_train_function()

    def seconds(self, steps: int) -> float:
        """Seconds for a number of steps, the last one's result waited for."""
        start = time.perf_counter()
        for _ in range(steps):
            logs = self.model.train_function(self.iterator)
        np.asarray(logs["loss"])
        return time.perf_counter() - start


def _compiled(case: Case, variant: str) -> keras.Model:
    model = case.build()
    if case.multi_label:
        loss: keras.losses.Loss = keras.losses.BinaryCrossentropy(from_logits=True)
    elif variant == "ghm_c":
        loss = GHMC()
    elif variant == "seesaw":
        loss = Seesaw(model.output_shape[-1])
    else:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    if variant == BALANCED:
        model = gb_keras.GradientBalancedModel.from_model(model)
        loss = gb_keras.GradientBalancedLoss(loss, **case.options)
    model.compile(
        "adam",
        loss,
        metrics=["binary_accuracy" if case.multi_label else "accuracy"],
        run_eagerly=case.mode == "eager",
        jit_compile=case.mode == "xla",
    )
    return model


def times(name: str, pairs: int) -> dict[str, Any]:
    """Step times of the variants of a case, trained on the same batch in turn, block by block.

    So a change of the machine's speed meets all alike.

    Args:
        name: A case.
        pairs: Blocks of each variant.

    Returns:
        `plain_ms`, the median milliseconds of a plain step; for each other variant `ratio`, the
        median over blocks of its time by that of the plain block beside it, and its `quartiles`.
    """
    variants = [PLAIN, BALANCED, *(RIVALS if CASES[name].rivals else ())]
    runners = {variant: Runner(name, variant) for variant in variants}
    for runner in runners.values():
        runner.seconds(3)
    steps = max(2, round(SECONDS_PER_BLOCK / (runners[PLAIN].seconds(5) / 5)))
    measured: dict[str, list[float]] = {variant: [] for variant in variants}
    for pair in range(pairs):
        # The order alternates: who goes first finds other caches than who goes second.
        for variant in variants if pair % 2 else reversed(variants):
            measured[variant].append(runners[variant].seconds(steps) / steps)
    figures: dict[str, Any] = {"plain_ms": 1e3 * statistics.median(measured[PLAIN])}
    for variant in variants[1:]:
        ratios = [a / b for a, b in zip(measured[variant], measured[PLAIN], strict=True)]
        low, _, high = statistics.quantiles(ratios, n=4)
        figures[variant] = {"ratio": statistics.median(ratios), "quartiles": [low, high]}
    return figures


def memory_ratio(name: str) -> float:
    """Peak resident memory of a process of balanced training by that of plain training."""
    peaks = {}
    for variant in (PLAIN, BALANCED):
        command = [sys.executable, "-m", "benchmarks.overhead", "memory", name, variant]
        found = subprocess.run(command, check=True, capture_output=True, text=True)
        peaks[variant] = float(found.stdout)
    return peaks[BALANCED] / peaks[PLAIN]


def peak_of(name: str, variant: str) -> float:
    """Peak memory of this process after some steps, in MiB."""
    Runner(name, variant).seconds(20)
    return peak_mib()
