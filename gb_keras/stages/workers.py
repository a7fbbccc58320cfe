"""What several workers that train together do otherwise than one."""

import os
from pathlib import Path

import keras
import tensorflow as tf

from gb_keras import distribution


def check_batches(model: keras.Model, num_examples: int, batch_size: int) -> None:
    """See that every replica gets something of every batch, where a model needs that.

    Of an empty share batch normalization takes a mean that is not a number, and keeps it.

    Raises:
        ValueError: A batch has fewer images than there are replicas, and the model normalizes.
    """
    num_replicas = distribution.describe(model.distribute_strategy).num_replicas
    last_batch = num_examples % batch_size or batch_size
    smallest = min(batch_size, num_examples, last_batch)
    normalizes = any(
        isinstance(layer, keras.layers.BatchNormalization) for layer in model._flatten_layers()
    )
    if normalizes and smallest < num_replicas:
        raise ValueError(
            f"Expected each batch to have an image for each of the {num_replicas} replicas, since "
            f"the model has batch normalization. Received: batch_size={batch_size} with "
            f"{num_examples} training images, whose smallest batch has {smallest}. Choose another "
            "batch_size."
        )


def check_compilation(strategy: tf.distribute.Strategy, jit_compile: bool) -> None:
    """See that XLA can compile a step of all replicas, before any of them starts one.

    Raises:
        ValueError: It cannot, since they are several devices of a process, or several CPUs.
    """
    described = distribution.describe(strategy)
    one_gpu_each = (
        described.num_replicas == described.num_workers and tf.config.list_logical_devices("GPU")
    )
    if jit_compile and described.num_replicas > 1 and not one_gpu_each:
        raise ValueError(
            "Expected jit_compile=False, since XLA compiles a step for one device, and has no "
            f"collective operations on CPUs. Received: jit_compile=True, {described}. Leave "
            "jit_compile (--jit-compile) out, train with strategy='none', or on workers with one "
            "GPU each."
        )


def of_chief(
    strategy: tf.distribute.Strategy, callback: keras.callbacks.Callback
) -> list[keras.callbacks.Callback]:
    """A callback that the chief alone shall have, because it writes; it must read no metric."""
    return [callback] if distribution.describe(strategy).is_chief else []


def save(model: keras.Model, path: Path) -> None:
    """Save a model so that it is there as a whole or not at all.

    All workers save, because they read metrics together; what the chief has saved stays.
    """
    described = distribution.describe(model.distribute_strategy)
    partial = path.with_name(f".{path.name}.worker{described.worker:02d}{path.suffix}")
    try:
        model.save(partial)
        if described.is_chief:
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
