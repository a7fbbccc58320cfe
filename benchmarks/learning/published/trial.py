"""One run of a protocol: a method trains its network, and is measured on its test images."""

import dataclasses
import math
import platform
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from benchmarks.learning import records
from benchmarks.learning.published import batches, networks, protocols, training_images
from benchmarks.learning.published.optimizer import PenalisedSGD
from benchmarks.learning.published.protocols import Protocol
from gb_keras.data.manifest import versions
from gb_keras.data.tfds_directory import no_protobuf_warnings
from gb_keras.metrics import shots
from gb_keras.names import require_name
from gb_keras.stages import methods
from gb_keras.stages.checkpoints import EpochCheckpoint
from gb_keras.stages.evaluate import metrics
from gb_keras.training import GradientBalancedModel

RECORDS = "published.jsonl"


@dataclasses.dataclass(frozen=True)
class Trial:
    """Which run it is.

    Attributes:
        protocol: A name in `protocols.PROTOCOLS`.
        method: A name in `gb_keras.stages.methods.names()`.
        seed: Seed of the training images, the weights, the order and the augmentation.
        epochs: Passes over the training images; those of the protocol for a published result.
    """

    protocol: str
    method: str
    seed: int
    epochs: int

    def __post_init__(self) -> None:
        require_name("method", self.method, methods.names())
        protocols.get(self.protocol)
        if self.epochs < 1 or self.seed < 0:
            raise ValueError(
                "Expected at least 1 epoch and a seed of at least 0. Received: "
                f"epochs={self.epochs}, seed={self.seed}."
            )

    @property
    def key(self) -> str:
        """What tells this run from all others.

        Example:
            >>> Trial("cifar10-lt-100", "focal", 0, 200).key
            'cifar10-lt-100/focal/seed0/epochs200'
        """
        return f"{self.protocol}/{self.method}/seed{self.seed}/epochs{self.epochs}"


def run(
    trial: Trial, results: Path, data_dir: Path | None = None, split_file: Path | None = None
) -> dict[str, Any]:
    """Train, or go on where an earlier process stopped, measure, and record.

    After each epoch the state is written below `results`; the same call goes on from there, to
    the result that it would have had without the interruption (up to how a GPU rounds).

    Args:
        trial: The run.
        results: Folder of records, states and chosen training images.
        data_dir: Where TFDS has its data sets; None for where it has them by itself.
        split_file: The official list, for a protocol that has one.

    Returns:
        The record, as it is added to `published.jsonl`: the trial and its `key`; `final`, metrics
        of the test images after the last epoch (see `gb_keras.stages.evaluate.METRICS`);
        `versions` and `machine`.
    """
    path = results / RECORDS
    for record in records.read(path):
        if record["key"] == trial.key:
            return record
    protocol = protocols.get(trial.protocol)
    with no_protobuf_warnings():
        builder = tfds.builder(protocol.data, data_dir=data_dir)
        builder.download_and_prepare()
    images = training_images.load(
        protocol,
        builder,
        split_file,
        trial.seed,
        results / "images" / f"{trial.protocol}-seed{trial.seed}",
    )
    keras.utils.set_random_seed(trial.seed)
    method = methods.method(trial.method, images.counts, trial.epochs)
    model = compiled_model(protocol, method, len(images.counts))
    checkpoint = EpochCheckpoint(results / "runs" / trial.key)
    first_epoch = checkpoint.restore(model)
    if first_epoch < trial.epochs:
        _fit(model, trial, protocol, method, images, first_epoch, checkpoint)
    record = {
        "key": trial.key,
        **dataclasses.asdict(trial),
        "final": _measured(model, builder, protocol, images.counts),
        "versions": {**versions(), "keras": keras.__version__},
        "machine": _machine(),
    }
    records.append(path, record)
    checkpoint.remove()
    return record


def compiled_model(protocol: Protocol, method: methods.Method, num_classes: int) -> keras.Model:
    """The network of a protocol, ready to be trained with a method.

    Args:
        protocol: The protocol.
        method: The method.
        num_classes: Number of classes.
    """
    model = networks.build(
        protocol.network, protocol.size, num_classes, method.logit_scale, protocol.pretrained
    )
    if method.balanced:
        model = GradientBalancedModel.from_model(model)
    optimizer = PenalisedSGD(protocol.learning_rate, protocol.weight_decay, protocol.feature_rate)
    model.compile(optimizer, method.loss, metrics=["accuracy"], jit_compile=False)
    return model


def _fit(
    model: keras.Model,
    trial: Trial,
    protocol: Protocol,
    method: methods.Method,
    images: training_images.TrainingImages,
    first_epoch: int,
    checkpoint: EpochCheckpoint,
) -> None:
    def rate(epoch: int, _: float) -> float:
        return protocol.learning_rate * protocol.schedule(epoch, trial.epochs)

    model.fit(
        batches.training(images, protocol, method.class_sampling, trial.seed, first_epoch),
        epochs=trial.epochs,
        initial_epoch=first_epoch,
        steps_per_epoch=math.ceil(sum(images.counts) / protocol.batch_size),
        shuffle=False,  # The stream is shuffled already.
        class_weight=method.class_weight,
        verbose=2,
        callbacks=[*method.callbacks, keras.callbacks.LearningRateScheduler(rate), checkpoint],
    )


def _measured(
    model: keras.Model,
    builder: tfds.core.DatasetBuilder,
    protocol: Protocol,
    counts: list[int],
) -> dict[str, float | None]:
    call = tf.function(lambda images: model(images, training=False), reduce_retracing=True)
    stream = batches.testing(training_images.encoded(builder, protocol.test_split), protocol)
    labels, logits = zip(*((y.numpy(), call(x).numpy()) for x, y in stream), strict=True)
    found = metrics(np.concatenate(labels), np.concatenate(logits), shots(counts))
    return {name: None if value is None else round(value, 5) for name, value in found.items()}


def _machine() -> str:
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return platform.machine()
    return tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
