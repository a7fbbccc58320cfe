"""One trial: one method trains one network on one task, and is measured."""

import dataclasses
import functools
import platform
import time
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from benchmarks.learning import regimes
from benchmarks.memory import peak_mib, reset_peak
from gb_keras import backbones
from gb_keras.data.manifest import versions
from gb_keras.data.resampling import class_quotas, resampled
from gb_keras.metrics import shots
from gb_keras.names import require_name
from gb_keras.stages import methods, multi_label_measures, multi_label_methods, optimizers
from gb_keras.stages.evaluate import METRICS, metrics
from gb_keras.training import GradientBalancedModel

# name: share of the regime's epochs that it trains.
EPOCHS = {"mlp": 1.0, "small_cnn": 0.4}
BATCH_SIZE = 64
LEARNING_RATE = 1e-3
CURVES = ("accuracy", "balanced_accuracy", "negative_log_likelihood")


@dataclasses.dataclass(frozen=True)
class Trial:
    """What one trial is; equal trials give equal results (on one kind of machine).

    Attributes:
        regime: A name in `regimes.REGIMES`.
        network: A name in `EPOCHS`.
        method: A name in `method_names(regime)`.
        seed: Seed of the task, the weights and the order of the data.
        options: Arguments of the method's loss other than its defaults, as sorted pairs; and
            `learning_rate` where it is not `LEARNING_RATE`.
    """

    regime: str
    network: str
    method: str
    seed: int
    options: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        require_name("regime", self.regime, regimes.REGIMES)
        require_name("network", self.network, EPOCHS)
        require_name(f"method of {self.regime}", self.method, method_names(self.regime))

    @property
    def label(self) -> str:
        """The method with its options.

        Example:
            >>> Trial("digits", "mlp", "focal", 0, (("gamma", 1.0),)).label
            'focal(gamma=1.0)'
        """
        options = ", ".join(f"{name}={value}" for name, value in self.options)
        return f"{self.method}({options})" if options else self.method

    @property
    def key(self) -> str:
        """What tells this trial from all others.

        Example:
            >>> Trial("digits", "mlp", "focal", 0).key
            'digits/mlp/focal/0'
        """
        return "/".join([*self.cell, str(self.seed)])

    @property
    def cell(self) -> tuple[str, str, str]:
        """What trials of all seeds share: regime, network and label."""
        return self.regime, self.network, self.label

    @property
    def epochs(self) -> int:
        """Passes over the training split."""
        return round(EPOCHS[self.network] * regimes.REGIMES[self.regime].epochs)


def method_names(regime: str) -> list[str]:
    """The methods that there are for a regime.

    Args:
        regime: A name in `regimes.REGIMES`.

    Example:
        >>> sorted(set(method_names("mosaics-lt10-missing50")) - set(method_names("mnist5k")))
        ['asymmetric', 'distribution_balanced']
    """
    return (multi_label_methods if regimes.REGIMES[regime].mosaics else methods).names()


def run(trial: Trial) -> dict[str, Any]:
    """Train and measure.

    Returns:
        A record, ready for JSON: the trial and its `key`; `curves` on the validation split, a
        value for each epoch; `final` and `best`, metrics of the test split (see
        `gb_keras.stages.evaluate.METRICS`, and `multi_label_measures.METRICS`) after the last epoch
        and after that of the best balanced accuracy in validation, `best_epoch`, counted from 1;
        `seconds` of training without validation, `peak_mib` of memory; `versions` and `machine`.
    """
    task = regimes.load(regimes.REGIMES[trial.regime], trial.seed)
    reset_peak()
    keras.backend.clear_session()
    keras.utils.set_random_seed(trial.seed)
    counts = task.class_counts
    method = _method(trial, counts)
    steps = -(-len(task.train) // BATCH_SIZE)
    model = _model(trial, task, method, steps)
    watch = _Watch(task, counts)
    batches = _batches(task, counts, method, trial.epochs, trial.seed)
    start = time.perf_counter()
    model.fit(
        batches,
        epochs=trial.epochs,
        steps_per_epoch=steps,
        shuffle=False,
        class_weight=method.class_weight,
        verbose=0,
        callbacks=[*method.callbacks, watch],
    )
    seconds = time.perf_counter() - start - watch.seconds
    return {
        "key": trial.key,
        **dataclasses.asdict(trial),
        "options": dict(trial.options),
        "label": trial.label,
        "epochs": trial.epochs,
        "curves": watch.curves,
        "final": watch.metrics(),
        "best": watch.best,
        "best_epoch": watch.best_epoch,
        "seconds": round(seconds, 2),
        "peak_mib": round(peak_mib()),
        "versions": {**versions(), "keras": keras.__version__},
        "machine": f"{platform.machine()}, {tf.config.threading.get_intra_op_parallelism_threads()}"
        " threads",
    }


def _method(trial: Trial, counts: np.ndarray) -> methods.Method:
    """The method, its loss rebuilt where options differ from the defaults."""
    if regimes.REGIMES[trial.regime].mosaics:
        method = multi_label_methods.method(trial.method, counts)
    else:
        method = methods.method(trial.method, counts.tolist(), trial.epochs)
    options = {name: value for name, value in trial.options if name != "learning_rate"}
    if not options:
        return method
    config = method.loss.get_config()
    unknown = set(options) - set(config)
    if unknown:
        raise ValueError(
            f"Expected options of {trial.method}'s loss, among {', '.join(config)}. Received: "
            f"{', '.join(sorted(unknown))}."
        )
    return dataclasses.replace(method, loss=type(method.loss).from_config(config | options))


def _model(trial: Trial, task: regimes.Task, method: methods.Method, steps: int) -> keras.Model:
    """The network, compiled to make all steps of an epoch in one go."""
    shape = task.train.images.shape[1:]
    if trial.network == "mlp":
        model = _mlp(shape, task.num_classes, method.logit_scale)
    else:
        model = _cnn(trial.network, shape, task, method.logit_scale)
    if method.balanced:
        model = GradientBalancedModel.from_model(model)
    rate = optimizers.learning_rate_schedule(
        "cosine",
        dict(trial.options).get("learning_rate", LEARNING_RATE),
        trial.epochs * steps,
    )
    # So that a step of a small network is not mostly the way from Python to it.
    model.compile(optimizers.make_optimizer("adamw", rate), method.loss, steps_per_execution=steps)
    return model


def _mlp(shape: tuple[int, ...], num_classes: int, logit_scale: float | None) -> keras.Model:
    """Two hidden layers, too large for so little data: it can learn any wrong label by heart."""
    inputs = keras.Input(shape)
    x = layers.Flatten()(layers.Rescaling(1 / 255)(inputs))
    for units in (256, 256):
        x = layers.Dense(units, activation="relu")(x)
    return keras.Model(inputs, backbones.classifier(num_classes, logit_scale)(x))


def _cnn(
    network: str, shape: tuple[int, ...], task: regimes.Task, logit_scale: float | None
) -> keras.Model:
    """The backbone; mosaics come to it at half size, where a step takes a quarter of the time."""
    if not task.multi_label:
        return backbones.build(network, shape, task.num_classes, logit_scale=logit_scale)
    inputs = keras.Input(shape)
    halved = layers.AveragePooling2D(2)(inputs)
    backbone = backbones.build(network, halved.shape[1:], task.num_classes)
    return keras.Model(inputs, backbone(halved))


def _batches(
    task: regimes.Task, counts: np.ndarray, method: methods.Method, epochs: int, seed: int
) -> tf.data.Dataset:
    """Batches of all epochs, each epoch in an order of its own that the seed determines."""
    train = task.train
    images = tf.constant(train.images)
    # And sample weights, where some labels are unknown.
    targets = [tf.constant(x) for x in (train.labels, train.known) if x is not None]
    generator = np.random.default_rng(seed)
    order = np.stack(
        [generator.permutation(epoch) for epoch in _epochs(task, counts, method, epochs)]
    )

    def batch(positions: tf.Tensor) -> tuple[tf.Tensor, ...]:
        of_batch = (tf.gather(target, positions) for target in targets)
        return tf.cast(tf.gather(images, positions), tf.float32), *of_batch

    def epoch(positions: tf.Tensor) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices(positions).batch(BATCH_SIZE)

    return tf.data.Dataset.from_tensor_slices(order).flat_map(epoch).map(batch).prefetch(2)


def _epochs(
    task: regimes.Task, counts: np.ndarray, method: methods.Method, epochs: int
) -> Iterator[np.ndarray]:
    """Positions that each epoch takes in."""
    positions = np.arange(len(task.train))
    if method.class_sampling is None:
        yield from [positions] * epochs
        return
    quotas = class_quotas(method.class_sampling, counts)
    records = tf.data.Dataset.from_tensor_slices(
        {"label": task.train.labels, "position": positions}
    )
    for number in range(epochs):
        epoch = resampled(records, quotas, counts.tolist(), number).batch(len(positions))
        yield next(iter(epoch))["position"].numpy()


def _multi_label_metrics(
    labels: np.ndarray, logits: np.ndarray, shot_of_class: Sequence[str]
) -> dict[str, float | None]:
    """Metrics of several labels; those that only one label has are None."""
    entries = multi_label_measures.Entries.of_batches([(labels, logits, None)])
    return dict.fromkeys(METRICS) | multi_label_measures.metrics(entries, shot_of_class)


class _Watch(keras.callbacks.Callback):
    """Measures the model after each epoch, outside of the time that training takes."""

    def __init__(self, task: regimes.Task, counts: np.ndarray):
        super().__init__()
        self._task = task
        measure = _multi_label_metrics if task.multi_label else metrics
        of_classes = counts[1] if task.multi_label else counts
        self._measure = functools.partial(measure, shot_of_class=shots(of_classes.tolist()))
        self.curves: dict[str, list[float]] = {name: [] for name in CURVES}
        self.best: dict[str, Any] = {}
        self.best_epoch = 0
        self.seconds = 0.0

    def on_train_begin(self, logs: Any = None) -> None:
        model = self.model
        self._logits = tf.function(lambda images: model(images, training=False))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        start = time.perf_counter()
        highest = max(self.curves["balanced_accuracy"], default=-1.0)
        found = self._metrics(self._task.validation)
        for name in CURVES:
            self.curves[name].append(found[name])
        if found["balanced_accuracy"] > highest:
            self.best, self.best_epoch = self.metrics(), epoch + 1
        self.seconds += time.perf_counter() - start

    def metrics(self) -> dict[str, Any]:
        """All metrics on the test split."""
        return self._metrics(self._task.test)

    def _metrics(self, split: regimes.Split) -> dict[str, Any]:
        found = self._measure(split.labels, self._predict(split.images))
        return {name: None if value is None else round(value, 5) for name, value in found.items()}

    def _predict(self, images: np.ndarray) -> np.ndarray:
        parts = np.split(images, range(512, len(images), 512))
        return np.concatenate([self._logits(part.astype("float32")).numpy() for part in parts])
