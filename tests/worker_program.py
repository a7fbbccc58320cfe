"""What each worker does, and one process alone for comparison.

`python -m tests.worker_program FOLDER`
"""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend.tensorflow import trainer as keras_trainer
from tensorflow.python.distribute import collective_all_reduce_strategy

import gb_keras
from benchmarks import collectives
from gb_keras import baselines, distribution, keras_multi_worker
from tests import forks

MODELS = ("plain", "seesaw", "balanced")

NUM_CLASSES, BINS, BATCH_SIZE = 4, 8, 8
RNG = np.random.default_rng(7)
# The last batch has an odd number of samples.
FEATURES = RNG.normal(0, 1, (45, 6)).astype(np.float32)
# In each batch the first half, which is the first worker's, has other classes than the second.
LABELS = RNG.integers(0, 2, 45) + 2 * (np.arange(45) % BATCH_SIZE >= BATCH_SIZE // 2)
WEIGHTS = RNG.integers(0, 3, 45).astype(np.float32)
BASE = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def loss_of(name):
    if name == "balanced":
        return gb_keras.GradientBalancedLoss(BASE, bins=BINS)
    if name == "seesaw":
        return baselines.SeesawLoss(NUM_CLASSES)
    return BASE


def new_model(strategy, name):
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(11)
    with strategy.scope():
        inputs = keras.Input((6,))
        x = keras.layers.Dense(8, activation="relu", kernel_regularizer="l2")(inputs)
        outputs = keras.layers.Dense(NUM_CLASSES)(x)
        kind = gb_keras.GradientBalancedModel if name == "balanced" else keras.Model
        model = kind(inputs, outputs)
        model.compile(
            keras.optimizers.Adam(0.05),
            loss_of(name),
            metrics=["accuracy", gb_keras.metrics.BalancedAccuracy()],
        )
    return model


def results(strategy, name, folder):
    """Train a model, and all that came of it."""
    model = new_model(strategy, name)
    # Keras weighs the workers' means of plain losses alike, so there batches are even.
    num_samples = len(LABELS) if name == "balanced" else 40
    history = model.fit(
        FEATURES[:num_samples],
        LABELS[:num_samples],
        sample_weight=WEIGHTS[:num_samples],
        validation_data=(FEATURES[:13], LABELS[:13]),
        batch_size=BATCH_SIZE,
        epochs=2,
        shuffle=False,
        verbose=0,
    ).history
    found = {f"history {key}": values for key, values in history.items()}
    found |= {f"weights {i}": value for i, value in enumerate(model.get_weights())}
    if name == "balanced":
        found["predictions"] = model.predict(FEATURES, batch_size=BATCH_SIZE, verbose=0)
        found["evaluation"] = model.evaluate(FEATURES, LABELS, batch_size=BATCH_SIZE, verbose=0)
        statistic = model.gradient_density
        for each in ("histogram", "class_counts", "num_updates", "num_skipped", "noise_rate"):
            found[each] = getattr(statistic, each).numpy()
    if name == "seesaw":
        found["class_counts"] = model.loss.class_counts.numpy()
    # All save, as they read metrics together; the chief's is looked at.
    worker = distribution.describe(strategy).worker
    model.save(folder / f"{name}-{worker}.keras")
    return model, {f"{name} {key}": np.asarray(value) for key, value in found.items()}


def errors_without_repair(strategy):
    """What Keras says without each half of the repair; nothing where it trains."""
    repaired = {
        (keras_trainer.TensorFlowTrainer, "_maybe_symbolic_build"),
        (keras_trainer, "reduce_per_replica"),
    }
    errors = {}
    for owner, name in sorted(repaired, key=lambda entry: entry[1]):
        keras_multi_worker.undo()
        own = getattr(owner, name)
        keras_multi_worker.repair()
        setattr(owner, name, own)
        try:
            new_model(strategy, "plain").fit(FEATURES, LABELS, batch_size=BATCH_SIZE, verbose=0)
        except Exception as error:
            errors[name] = f"{type(error).__name__}: {error}"
        keras_multi_worker.repair()
    return errors


def models(folder, names, num_devices=1):
    """What each worker does."""
    if num_devices > 1:
        of_virtual_devices(num_devices)
    strategy = distribution.strategy()
    described = distribution.describe(strategy)
    found = {"described": {**described.as_dict(), "worker": described.worker}}
    if "plain" in names:
        found["errors"] = errors_without_repair(strategy)
    try:
        distribution.require_same(strategy, "number", described.worker)
    except ValueError as error:
        found["disagreement"] = str(error)
    arrays, found["collectives"] = {}, {}
    batch = FEATURES[:BATCH_SIZE], LABELS[:BATCH_SIZE]
    for name in names:
        model, of_model = results(strategy, name, folder)
        arrays |= of_model
        found["collectives"][name] = collectives.of_a_step(model, *batch)
    with strategy.scope():
        model.gradient_density.watch()
    found["collectives"]["watched"] = collectives.of_a_step(model, *batch)
    np.savez(folder / f"results-{described.worker}.npz", **arrays)
    (folder / f"found-{described.worker}.json").write_text(json.dumps(found))


def of_virtual_devices(number):
    """Have a worker without GPUs train on several virtual devices, as one with as many GPUs does.

    TensorFlow asks for the number of GPUs alone.
    """
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * number
    )

    def virtual(self, cluster_resolver, worker_device):
        return tuple(f"{worker_device}/device:CPU:{index}" for index in range(number)), "CPU"

    collective_all_reduce_strategy.CollectiveAllReduceExtended._initialize_local_devices = virtual


def play(folder, name, num_workers, *arguments):
    """As many workers, to their good end."""
    (folder / name).mkdir()
    outputs = [folder / f"{name}-{worker}.txt" for worker in range(num_workers)]
    codes = forks.run(num_workers, lambda _: models(folder / name, *arguments), outputs)
    if any(codes):
        sys.exit("\n".join(output.read_text() for output in outputs))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    play(folder, "two", 2, MODELS)
    # Shares of a batch are never even.
    play(folder, "three", 3, ["balanced"])
    play(folder, "devices", 2, ["balanced"], 2)
