"""The cases: networks, sizes and ways of running whose steps are timed."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

MODES = ("graph", "eager", "xla")


@dataclasses.dataclass(frozen=True)
class Case:
    """What is trained, and how.

    Attributes:
        what: In words.
        build: Makes the network, which gives logits.
        inputs: Makes a batch of inputs.
        options: Arguments of the balanced loss other than its defaults.
        mode: One of `MODES`.
        policy: Keras's dtype policy.
        multi_label: Whether each logit has a label of its own.
        limit: The time ratio that balanced training should not exceed, or None.
        rivals: Whether published losses are timed beside.
    """

    what: str
    build: Callable[[], keras.Model]
    inputs: Callable[[np.random.Generator], np.ndarray]
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    mode: str = "graph"
    policy: str = "float32"
    multi_label: bool = False
    limit: float | None = None
    rivals: bool = False


def _dense(features: int, hidden: int, num_classes: int) -> keras.Model:
    inputs = keras.Input([features])
    x = keras.layers.Dense(hidden, activation="relu")(inputs) if hidden else inputs
    return keras.Model(inputs, keras.layers.Dense(num_classes)(x))


def _small_cnn() -> keras.Model:
    inputs = keras.Input((32, 32, 3))
    x = inputs
    for filters in (32, 64, 64):
        x = keras.layers.Conv2D(filters, 3, activation="relu", padding="same")(x)
        x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(128, activation="relu")(x)
    return keras.Model(inputs, keras.layers.Dense(10)(x))


def _resnet50(size: int) -> keras.Model:
    return keras.applications.ResNet50(
        weights=None, input_shape=(size, size, 3), classes=1000, classifier_activation=None
    )


def _transformer() -> keras.Model:
    """Classifies each of 64 tokens: two blocks of width 128."""
    inputs = keras.Input((64,), dtype="int32")
    x = keras.layers.Embedding(32_000, 128)(inputs)
    for _ in range(2):
        attended = keras.layers.MultiHeadAttention(4, 32)(x, x)
        x = keras.layers.LayerNormalization()(x + attended)
        hidden = keras.layers.Dense(512, activation="gelu")(x)
        x = keras.layers.LayerNormalization()(x + keras.layers.Dense(128)(hidden))
    return keras.Model(inputs, keras.layers.Dense(32_000)(x))


def _images(batch_size: int, *shape: int) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda generator: generator.standard_normal((batch_size, *shape)).astype("float32")


def _tokens(batch_size: int) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda generator: generator.integers(0, 32_000, (batch_size, 64))


MLP = Case(
    "two layers, 10 classes, 64 images of 28x28: next to no work in a step",
    functools.partial(_dense, 784, 128, 10),
    _images(64, 784),
    limit=1.10,
)
SMALL_CNN = Case(
    "three convolutions, 10 classes, 64 images of 32x32x3", _small_cnn, _images(64, 32, 32, 3)
)


def _head(num_classes: int, batch_size: int = 128, **changes: Any) -> Case:
    """A classifier alone: nothing hides what the loss costs."""
    return Case(
        f"a classifier of 512 features, {num_classes:,} classes, {batch_size} samples",
        functools.partial(_dense, 512, 0, num_classes),
        _images(batch_size, 512),
        **changes,
    )


_cnn = functools.partial(dataclasses.replace, SMALL_CNN)
CPU_CASES: dict[str, Case] = {
    "mlp": MLP,
    "mlp_xla": dataclasses.replace(MLP, mode="xla", limit=1.05),
    "mlp_eager": dataclasses.replace(MLP, mode="eager", limit=None),
    "small_cnn": _cnn(limit=1.03, rivals=True),
    "small_cnn_10_bins": _cnn(options={"bins": 10}, limit=1.03),
    "small_cnn_100_bins": _cnn(options={"bins": 100}, limit=1.03),
    "small_cnn_1000_bins": _cnn(options={"bins": 1000}, limit=1.03),
    "small_cnn_batch_32": _cnn(inputs=_images(32, 32, 32, 3)),
    "small_cnn_batch_256": _cnn(inputs=_images(256, 32, 32, 3)),
    "small_cnn_batch_1024": _cnn(inputs=_images(1024, 32, 32, 3)),
    "small_cnn_xla": _cnn(mode="xla", limit=1.05),
    "small_cnn_eager": _cnn(mode="eager"),
    "small_cnn_bfloat16": _cnn(policy="mixed_bfloat16"),
    "resnet50": Case(
        "ResNet-50, 1,000 classes, 32 images of 64x64x3",
        functools.partial(_resnet50, 64),
        _images(32, 64, 64, 3),
        limit=1.02,
    ),
    "transformer": Case(
        "a transformer that gives each of 4 x 64 tokens one of 32,000 classes",
        _transformer,
        _tokens(4),
    ),
    "classes_10": _head(10),
    "classes_100": _head(100),
    "classes_1000": _head(1000, rivals=True),
    "classes_10000": _head(10_000, limit=1.05, rivals=True),
    "classes_10000_xla": _head(10_000, mode="xla", limit=1.05),
    "classes_20000": _head(20_000, limit=1.05),
    "classes_20000_100_bins": _head(20_000, options={"bins": 100}, limit=1.05),
    "multi_label_1000": _head(1000, multi_label=True),
    "multi_label_20000": _head(20_000, multi_label=True),
}
_GPU_SMALL_CNN = _cnn(
    what="three convolutions, 10 classes, 1,024 images of 32x32x3", inputs=_images(1024, 32, 32, 3)
)
_GPU_RESNET50 = Case(
    "ResNet-50, 1,000 classes, 128 images of 224x224x3, bfloat16",
    functools.partial(_resnet50, 224),
    _images(128, 224, 224, 3),
    policy="mixed_bfloat16",
)
# Batches that keep a large GPU busy, compiled by XLA: what Keras does there unless it is told not
# to, or trains on several devices.
GPU_CASES: dict[str, Case] = {
    "gpu_mlp": dataclasses.replace(MLP, mode="xla", limit=None),
    "gpu_mlp_graph": dataclasses.replace(MLP, limit=None),
    "gpu_small_cnn": dataclasses.replace(_GPU_SMALL_CNN, mode="xla"),
    "gpu_small_cnn_graph": _GPU_SMALL_CNN,
    "gpu_classes_1000": _head(1000, 1024, mode="xla"),
    "gpu_classes_10000": _head(10_000, 1024, mode="xla"),
    "gpu_classes_20000": _head(20_000, 1024, mode="xla"),
    "gpu_classes_20000_graph": _head(20_000, 1024),
    "gpu_multi_label_20000": _head(20_000, 1024, mode="xla", multi_label=True),
    "gpu_multi_label_20000_graph": _head(20_000, 1024, multi_label=True),
    "gpu_transformer": Case(
        "a transformer that gives each of 32 x 64 tokens one of 32,000 classes, bfloat16",
        _transformer,
        _tokens(32),
        mode="xla",
        policy="mixed_bfloat16",
    ),
    "gpu_resnet50_graph": _GPU_RESNET50,
    "gpu_resnet50": dataclasses.replace(_GPU_RESNET50, mode="xla"),
}
CASES = CPU_CASES | GPU_CASES
# Enough to see that nothing has become slow.
QUICK = ("mlp", "small_cnn", "classes_1000", "classes_10000")
