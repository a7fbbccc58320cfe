"""Where a model trains: one device, several of this machine, or several workers."""

import dataclasses
import functools
import json
import os
from typing import Any

import tensorflow as tf

from gb_keras import keras_multi_worker
from gb_keras.names import require_name

AUTO = "auto"
NAMES = (AUTO, "none", "mirrored", "multi-worker")


@dataclasses.dataclass(frozen=True)
class Distribution:
    """What a strategy means for a training.

    Attributes:
        strategy: `"none"`, `"mirrored"` or `"multi-worker"`.
        num_workers: Processes that train together.
        num_replicas: Devices of all of them, each with a share of every batch.
        worker: Index of this process among the workers.
    """

    strategy: str
    num_workers: int
    num_replicas: int
    worker: int

    @property
    def is_chief(self) -> bool:
        """Whether this process is the one that writes what all of them have made."""
        return self.worker == 0

    def as_dict(self) -> dict[str, Any]:
        """What is the same on all workers."""
        return {
            "strategy": self.strategy,
            "num_workers": self.num_workers,
            "num_replicas": self.num_replicas,
        }

    def __str__(self) -> str:
        return (
            f"{self.strategy}: worker {self.worker} of {self.num_workers}, "
            f"{self.num_replicas} replicas in all"
        )


def strategy(name: str = AUTO) -> tf.distribute.Strategy:
    """The strategy to build, compile and train a model in; the same object on each call.

    Batch sizes are global: a batch is shared out over all replicas, so training has the steps that
    it has on one device, and the gradient statistic is that of the whole batch.

    With several workers each runs the same program, with its own `TF_CONFIG` in the environment,
    and calls this before it does anything else with TensorFlow. It returns when all are there.
    Keras cannot train on several workers by itself; this also repairs that (see
    `gb_keras.keras_multi_worker`).

    Args:
        name: `"none"`: one device. `"mirrored"`: all GPUs of this machine, or where there is none
            its logical CPUs. `"multi-worker"`: all devices of all workers that `TF_CONFIG` names.
            `"auto"`: multi-worker where `TF_CONFIG` names more than one worker, else mirrored
            where there is more than one GPU, else none.

    Returns:
        A TensorFlow strategy; of `"none"` TensorFlow's default one, whose scope changes nothing.

    Raises:
        ValueError: An unknown name, or a `TF_CONFIG` that is missing or names no workers.
        RuntimeError: TensorFlow was used before a strategy of several workers was made.

    Example:
        >>> import gb_keras, keras
        >>> with strategy("none").scope():
        ...     inputs = keras.Input((4,))
        ...     outputs = keras.layers.Dense(3, activation="softmax")(inputs)
        ...     model = gb_keras.GradientBalancedModel(inputs, outputs)
        ...     model.compile("adam", loss=gb_keras.GradientBalancedLoss())
        >>> describe(model.distribute_strategy).num_replicas
        1
    """
    require_name("strategy", name, dict.fromkeys(NAMES))
    if name == AUTO:
        name = _chosen()
    return _MAKERS[name]()


def describe(strategy: tf.distribute.Strategy) -> Distribution:
    """What a strategy is.

    Args:
        strategy: Of this module, or of TensorFlow.

    Example:
        >>> print(describe(tf.distribute.get_strategy()))
        none: worker 0 of 1, 1 replicas in all
    """
    num_workers, worker = 1, 0
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        name, num_workers = "multi-worker", strategy.extended._num_workers
        # TensorFlow's own index: a chief is 0, and workers follow.
        worker = strategy.extended._id_in_cluster
    else:
        name = "none" if strategy.num_replicas_in_sync == 1 else "mirrored"
    return Distribution(name, num_workers, strategy.num_replicas_in_sync, worker)


def require_same(strategy: tf.distribute.Strategy, name: str, value: int) -> None:
    """See that all workers have the same value, and wait for all of them.

    Args:
        strategy: The strategy of the workers. Other strategies have one worker, which agrees.
        name: What it is, for the error.
        value: This worker's value.

    Raises:
        ValueError: Workers differ, said on all of them.
    """
    values = of_all_workers(strategy, value)
    if len(set(values)) > 1:
        raise ValueError(
            f"Expected all workers to have the same {name}. Received, worker by worker: {values}. "
            "Give all of them the same arguments, and folders that all of them share."
        )


def of_all_workers(strategy: tf.distribute.Strategy, value: int) -> list[int]:
    """A value of each worker, in all workers alike; waits for all of them.

    Args:
        strategy: The strategy of the workers. Other strategies have one worker.
        value: This worker's value.

    Example:
        >>> of_all_workers(tf.distribute.get_strategy(), 7)
        [7]
    """
    described = describe(strategy)
    if described.num_workers == 1:
        return [int(value)]
    each = _of_all_replicas(strategy, tf.constant([value], tf.int64)).numpy().tolist()
    return each[:: described.num_replicas // described.num_workers]


@tf.function(reduce_retracing=True)
def _of_all_replicas(strategy: tf.distribute.Strategy, value: tf.Tensor) -> tf.Tensor:
    """This value of each replica, `(num_replicas,)`."""
    each = strategy.run(lambda: tf.identity(value))
    return strategy.gather(each, axis=0)


def _chosen() -> str:
    """What `"auto"` stands for here."""
    if _num_workers(_tf_config()) > 1:
        return "multi-worker"
    return "mirrored" if len(tf.config.list_logical_devices("GPU")) > 1 else "none"


def _tf_config() -> dict[str, Any]:
    """What `TF_CONFIG` says; nothing where it is not set."""
    text = os.environ.get("TF_CONFIG", "")
    try:
        config = json.loads(text or "{}")
    except json.JSONDecodeError as error:
        raise ValueError(
            f"Expected TF_CONFIG to be JSON. Received: {text!r}, {error}. {_TF_CONFIG_HELP}"
        ) from error
    return config if isinstance(config, dict) else {}


def _num_workers(config: dict[str, Any]) -> int:
    cluster = config.get("cluster") or {}
    return len(cluster.get("chief", [])) + len(cluster.get("worker", []))


@functools.cache
def _mirrored() -> tf.distribute.MirroredStrategy:
    # TensorFlow numbers collective operations anew in each strategy, but a process keeps their
    # shapes by number: a second strategy on the same devices would fail with a shape mismatch.
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    return tf.distribute.MirroredStrategy(
        [f"{kind}:{index}" for index in range(len(tf.config.list_logical_devices(kind)))]
    )


@functools.cache
def _multi_worker() -> tf.distribute.MultiWorkerMirroredStrategy:
    config = _tf_config()
    task = (config.get("task") or {}).get("type")
    if _num_workers(config) < 1 or task not in ("chief", "worker"):
        raise ValueError(
            "Expected TF_CONFIG to name the workers and which of them this process is. Received: "
            f"{os.environ.get('TF_CONFIG')!r}. {_TF_CONFIG_HELP}"
        )
    keras_multi_worker.repair()
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    keras_multi_worker.let_workers_end_together()
    return strategy


_TF_CONFIG_HELP = (
    'Set it in each worker as {"cluster": {"worker": ["host-0:3333", "host-1:3333"]}, "task": '
    '{"type": "worker", "index": 0}}, with an index of its own.'
)
_MAKERS = {
    "none": tf.distribute.get_strategy,
    "mirrored": _mirrored,
    "multi-worker": _multi_worker,
}
