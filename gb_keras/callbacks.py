"""The Keras callback that writes the gradient statistics for TensorBoard."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from gb_keras.metrics import BalancedAccuracy
from gb_keras.observation import Observation, ObservedOutput
from gb_keras.tensorboard import history, metadata, snapshot, summary


class GradientBalanceTensorBoard(keras.callbacks.Callback):
    """Writes the gradient statistics of a model for TensorBoard's Gradient Balance page.

    It reads what the training step has counted, outside of the compiled step. A plain
    `keras.Model` with a loss over classes is observed: the same statistics are taken, and it
    trains as before.

    The run in TensorBoard is `log_dir` itself; beside Keras's own `TensorBoard` callback in the
    same directory it is its own run, next to `train` and `validation`. A training that is resumed
    in the same directory writes no step twice. With several workers the chief writes.

    Args:
        log_dir: Directory of the run.
        update_freq: `"epoch"`, or a number of steps (batches), at least 1. Steps are those of the
            optimizer. The loss written at a step is Keras's running mean of the epoch so far.
        classes: Names (see `class_names`) or indices of classes whose own histogram is always
            written where a model has more than 200 classes.
        class_names: Names of all classes in order, `(num_classes,)`.
        plain_summaries: Whether to write the same in short for TensorBoard's own Histograms and
            Scalars pages too, for a TensorBoard without this page.

    Raises:
        ValueError: An argument out of its range, or a class that is not among the names.

    Example:
        >>> import tempfile, gb_keras
        >>> inputs = keras.Input((4,))
        >>> outputs = keras.layers.Dense(3, activation="softmax")(inputs)
        >>> model = gb_keras.GradientBalancedModel(inputs, outputs)
        >>> model.compile("adam", loss=gb_keras.GradientBalancedLoss())
        >>> log_dir = tempfile.mkdtemp()
        >>> history = model.fit(
        ...     np.ones((8, 4)), np.arange(8) % 3, epochs=2, verbose=0,
        ...     callbacks=[GradientBalanceTensorBoard(log_dir)])
        >>> [name.endswith(".gradient_balance") for name in os.listdir(log_dir)]
        [True]
    """

    def __init__(
        self,
        log_dir: str | os.PathLike = "logs",
        update_freq: str | int = "epoch",
        classes: Sequence[str | int] | None = None,
        class_names: Sequence[str] | None = None,
        plain_summaries: bool = True,
    ):
        super().__init__()
        self.log_dir = os.fspath(log_dir)
        self.update_freq = _checked_update_freq(update_freq)
        self.class_names = None if class_names is None else [str(name) for name in class_names]
        self.classes = _indices(classes or (), self.class_names)
        self.plain_summaries = plain_summaries
        self._observation: Observation | None = None
        self._writer: tf.summary.SummaryWriter | None = None
        self._batches = self._epoch_start = 0
        self._last_step = -1
        self._checked = False

    def set_model(self, model: keras.Model) -> None:
        """Begin to observe, before Keras compiles the training step."""
        super().set_model(model)
        if self._observation is not None:
            self._observation.stop()
        self._observation = Observation(model)
        self._batches = self._epoch_start = 0
        self._last_step = -1
        self._checked = False

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Write where `update_freq` steps are over."""
        if not self._checked:
            self._start(batch + 1)
        # With several steps per execution Keras calls once for all of them.
        before, self._batches = self._batches, self._epoch_start + batch + 1
        frequency = self.update_freq
        if isinstance(frequency, int) and self._batches // frequency > before // frequency:
            self._write(logs or {})

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Count batches on from the last epoch."""
        self._epoch_start = self._batches

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Write the statistics, and the recalls that the epoch ended with."""
        self._write(logs or {})
        recalls = _recalls(self.model)
        if recalls is not None and self._writer is not None:
            for taken in self._snapshots():
                if len(recalls) == len(taken.class_counts):
                    with self._writer.as_default():
                        summary.class_recalls(taken, recalls, self._last_step)
            self._writer.flush()

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        """Finish the file, and leave the model as it was."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._observation is not None:
            self._observation.stop()
            self._observation = None

    def _start(self, num_steps: int) -> None:
        """Find out, after the first steps, whether this training goes on with an earlier one."""
        self._checked = True
        for output in self._observed():
            num_classes = output.statistic.num_classes
            if self.class_names is not None and len(self.class_names) != num_classes:
                raise ValueError(
                    f"Expected class_names to have the {num_classes} names of the classes of "
                    f"output {output.name!r}. Received {len(self.class_names)} names."
                )
        if not self.model.distribute_strategy.extended.should_save_summary:
            return
        steps_before = self._step() - num_steps
        if steps_before > 0:
            self._batches = self._epoch_start = steps_before
            self._last_step = history.last_step(self.log_dir)

    def _observed(self) -> list[ObservedOutput]:
        return [] if self._observation is None else self._observation.outputs

    def _step(self) -> int:
        return int(self.model.optimizer.iterations.numpy())

    def _snapshots(self) -> list[snapshot.Snapshot]:
        outputs = self._observed()
        taken = []
        for output in outputs:
            # An only output has one name in all runs, so that they can be compared.
            name = output.name if len(outputs) > 1 else "output"
            taken += snapshot.take(name, output.loss, output.statistic, output.balanced)
        return taken

    def _write(self, logs: Mapping[str, float]) -> None:
        """Write everything of this step, unless it is written already."""
        step = self._step()
        chief = self.model.distribute_strategy.extended.should_save_summary
        if step <= self._last_step or not chief or not self._observed():
            return
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(
                self.log_dir, filename_suffix=metadata.FILE_SUFFIX
            )
        with self._writer.as_default():
            for taken in self._snapshots():
                scalars = _losses(logs, taken.name)
                steps_per_epoch = self.params.get("steps")
                if steps_per_epoch:
                    scalars["num_epochs"] = step / steps_per_epoch
                summary.gradient_balance(taken, step, self.classes, scalars)
                if self.plain_summaries:
                    summary.plain(taken, step, scalars)
                if self.class_names is not None and self._last_step < 0:
                    summary.class_names(taken, self.class_names)
        self._writer.flush()
        self._last_step = step


def _losses(logs: Mapping[str, float], name: str) -> dict[str, float]:
    """The balanced and the base loss of an output, where Keras reports them."""
    # Keras gives the only output's loss no prefix, and the parts of a multi-label one are ours.
    for prefix in (f"{name}_", f"{name.rpartition('/')[0]}_", ""):
        if f"{prefix}loss" in logs:
            loss = float(logs[f"{prefix}loss"])
            # A loss that is not balanced is its own base loss.
            return {"loss": loss, "base_loss": float(logs.get(f"{prefix}base_loss", loss))}
    return {}


def _checked_update_freq(update_freq: Any) -> str | int:
    is_count = isinstance(update_freq, int) and not isinstance(update_freq, bool)
    if update_freq != "epoch" and not (is_count and update_freq >= 1):
        raise ValueError(
            "Expected update_freq to be 'epoch' or a number of steps of at least 1. Received: "
            f"update_freq={update_freq!r}."
        )
    return update_freq


def _indices(classes: Sequence[str | int], names: Sequence[str] | None) -> list[int]:
    """Indices of classes given by name or index."""
    if isinstance(classes, str):
        raise ValueError(f"Expected classes to be a list. Received: classes={classes!r}.")
    by_name = {name: index for index, name in enumerate(names or ())}
    indices = []
    for entry in classes:
        if isinstance(entry, str) and entry not in by_name:
            raise ValueError(
                f"Expected classes among class_names{'' if names else ', which are not given'}. "
                f"Received: {entry!r}. Give the names of all classes as class_names, or an index."
            )
        indices.append(by_name[entry] if isinstance(entry, str) else int(entry))
    return indices


def _recalls(model: keras.Model) -> np.ndarray | None:
    """Recall of each class, where the model has a metric that counts it; NaN of unseen classes.

    At the end of an epoch metrics hold the validation, or the training where there is none.
    """
    for metric in _flat_metrics(model.metrics):
        if isinstance(metric, BalancedAccuracy) and metric.total is not None:
            correct, total = metric.correct.numpy(), metric.total.numpy()
            return np.divide(correct, total, out=np.full_like(total, np.nan), where=total > 0)
    return None


def _flat_metrics(metrics: Sequence[keras.metrics.Metric]) -> list[keras.metrics.Metric]:
    """Metrics with those inside of Keras's container for the metrics of `compile`."""
    flat = []
    for metric in metrics:
        flat.append(metric)
        if not isinstance(metric, BalancedAccuracy):
            flat.extend(_flat_metrics(getattr(metric, "metrics", [])))
    return flat
