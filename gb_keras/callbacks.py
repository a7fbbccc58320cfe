"""The Keras callback that writes the gradient statistics for TensorBoard."""

import itertools
import numbers
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
        class_names: Names of all classes in order, `(num_classes,)`; of several outputs a dict by
            the outputs' names.
        plain_summaries: Whether to write the same in short for TensorBoard's own Histograms and
            Scalars pages too, for a TensorBoard without this page.

    Raises:
        ValueError: An argument out of its range, or, after the first batch, names or classes that
            do not fit the model.

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
        class_names: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
        plain_summaries: bool = True,
    ):
        super().__init__()
        self.log_dir = os.fspath(log_dir)
        self.update_freq = _checked_update_freq(update_freq)
        self.class_names = _checked_names(class_names)
        self.classes = _checked_classes(classes, self.class_names)
        self.plain_summaries = plain_summaries
        self._observation: Observation | None = None
        self._writer: tf.summary.SummaryWriter | None = None
        self._forget()

    def _forget(self) -> None:
        """Know nothing of a training yet."""
        self._batches = self._epoch_start = 0
        self._last_step = -1
        self._names_written = False
        self._begun = self._checked = False

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Begin to observe."""
        if self._observation is not None:
            # A training that was interrupted.
            self._observation.stop()
        self._forget()
        self._observation = Observation(self.model)
        # Keras has made the step before, which does not observe.
        self.model.make_train_function(force=True)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Count batches on from the last epoch, or from an earlier training."""
        self._begin()
        # Read anew, since Keras tells of more batches than there are where an epoch ends in the
        # middle of several steps per execution.
        self._batches = self._epoch_start = self._num_batches()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Write where `update_freq` steps are over."""
        self._begin()
        if not self._checked:
            self._check()
        # With several steps per execution Keras calls once for all of them.
        before, self._batches = self._batches, self._epoch_start + batch + 1
        frequency = self.update_freq
        if isinstance(frequency, int) and self._batches // frequency > before // frequency:
            self._write(logs or {})

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Write the statistics, and the recalls that the epoch ended with."""
        self._write(logs or {})
        # Several workers read a metric together, also for the one that writes.
        found = {each.name: _recalls(self.model, each.name) for each in self._observed()}
        recalls = {name: values for name, values in found.items() if values is not None}
        # Most models have none, and a snapshot reads the whole statistic, by all workers as well.
        snapshots = self._snapshots() if recalls else []
        if self._writer is None:
            return
        with self._writer.as_default():
            for output, taken in snapshots:
                values = recalls.get(output.name)
                if values is not None and len(values) == len(taken.class_counts):
                    summary.class_recalls(taken, values, self._last_step)
        self._writer.flush()

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        """Finish the file, and leave the model as it was."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._observation is not None:
            self._observation.stop()
            self._observation = None

    def _begin(self) -> None:
        """Find out, before the first step is over, whether this training goes on with another."""
        if self._begun:
            return
        self._begun = True
        if self._is_chief() and self._num_batches() > 0:
            self._last_step, self._names_written = history.last_step(self.log_dir)

    def _check(self) -> None:
        """See, after the first step, that names and classes fit the model."""
        self._checked = True
        assert self._observation is not None
        self._observation.warn_if_nothing_is_heard()
        for output in self._observation.outputs:
            names, num_classes = self._names_of(output), output.statistic.num_classes
            if names is not None and len(names) != num_classes:
                raise ValueError(
                    f"Expected class_names to have the {num_classes} names of the classes of "
                    f"output {output.name!r}. Received {len(names)} names. For outputs with "
                    "different classes give a dict of lists by the outputs' names."
                )
            # Built, hence with a number of classes.
            classes = self._classes_of(output)
            summary.check_classes(classes, int(num_classes or 0), output.statistic.bins)

    def _names_of(self, output: ObservedOutput) -> list[str] | None:
        if isinstance(self.class_names, dict):
            return self.class_names.get(output.name)
        return self.class_names

    def _classes_of(self, output: ObservedOutput) -> list[int]:
        """Chosen classes of an output; a name may be that of another output's class."""
        names = self._names_of(output) or []
        indices = (names.index(c) if c in names else c for c in self.classes)
        return [index for index in indices if isinstance(index, int)]

    def _is_chief(self) -> bool:
        return self.model.distribute_strategy.extended.should_save_summary

    def _num_batches(self) -> int:
        """Batches that the optimizer has seen, which are more than its steps if it accumulates."""
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        return int(optimizer._iterations.numpy())

    def _observed(self) -> list[ObservedOutput]:
        return [] if self._observation is None else self._observation.outputs

    def _snapshots(self) -> list[tuple[ObservedOutput, snapshot.Snapshot]]:
        outputs = self._observed()
        found = []
        for output in outputs:
            # An only output has one name in all runs, so that they can be compared.
            name = output.name if len(outputs) > 1 else "output"
            for taken in snapshot.take(name, output.loss, output.statistic, output.balanced):
                found.append((output, taken))
        return found

    def _write(self, logs: Mapping[str, float]) -> None:
        """Write everything of this step, unless it is written already."""
        step = int(self.model.optimizer.iterations.numpy())
        snapshots = self._snapshots()
        if step <= self._last_step or not self._is_chief() or not snapshots:
            return
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(
                self.log_dir, filename_suffix=metadata.FILE_SUFFIX
            )
        with self._writer.as_default():
            for output, taken in snapshots:
                scalars = self._scalars(logs, output)
                summary.gradient_balance(taken, step, self._classes_of(output), scalars)
                if self.plain_summaries:
                    summary.plain(taken, step, scalars)
                names = self._names_of(output)
                if names is not None and not self._names_written:
                    summary.class_names(taken, names)
        self._writer.flush()
        self._last_step = step
        self._names_written = True

    def _scalars(self, logs: Mapping[str, float], output: ObservedOutput) -> dict[str, float]:
        """Losses of an output where Keras reports them, and the epochs that its counts span."""
        scalars = {}
        # Keras gives the only output's loss no prefix.
        for prefix in (f"{output.name}_", ""):
            if f"{prefix}loss" in logs:
                loss = float(logs[f"{prefix}loss"])
                # The balanced ones of several losses may be one, which then has no prefix.
                base = logs.get(f"{prefix}base_loss", logs.get("base_loss", loss))
                scalars = {"loss": loss, "base_loss": float(base)}
                break
        steps_per_epoch = (self.params or {}).get("steps")
        if steps_per_epoch:
            scalars["num_epochs"] = float(output.statistic.num_updates.numpy()) / steps_per_epoch
        return scalars


def _checked_update_freq(update_freq: Any) -> str | int:
    is_count = isinstance(update_freq, numbers.Integral) and not isinstance(update_freq, bool)
    if update_freq != "epoch" and not (is_count and update_freq >= 1):
        raise ValueError(
            "Expected update_freq to be 'epoch' or a number of steps of at least 1. Received: "
            f"update_freq={update_freq!r}."
        )
    return int(update_freq) if is_count else update_freq


def _checked_names(names: Any) -> list[str] | dict[str, list[str]] | None:
    if isinstance(names, str):
        raise ValueError(f"Expected class_names to be a list. Received: class_names={names!r}.")
    if names is None:
        return None
    if isinstance(names, Mapping):
        return {str(output): [str(name) for name in each] for output, each in names.items()}
    return [str(name) for name in names]


def _checked_classes(
    classes: Any, names: list[str] | dict[str, list[str]] | None
) -> list[str | int]:
    """Classes as names and indices, the names among those that are known."""
    if isinstance(classes, str):
        raise ValueError(f"Expected classes to be a list. Received: classes={classes!r}.")
    known = set(itertools.chain(*names.values()) if isinstance(names, dict) else names or ())
    checked: list[str | int] = []
    for entry in () if classes is None else classes:
        if isinstance(entry, str):
            if entry not in known:
                raise ValueError(
                    f"Expected classes among class_names{'' if known else ', which are not given'}"
                    f". Received: {entry!r}. Give the names of all classes as class_names, or an "
                    "index."
                )
            checked.append(entry)
        elif isinstance(entry, numbers.Integral) and not isinstance(entry, bool):
            checked.append(int(entry))
        else:
            raise ValueError(f"Expected classes to be names or indices. Received: {entry!r}.")
    return checked


def _recalls(model: keras.Model, output_name: str) -> np.ndarray | None:
    """Recall of each class, where the output has a metric that counts it; NaN of unseen classes.

    At the end of an epoch metrics hold the validation, or the training where there is none.
    """
    compiled = model._compile_metrics
    of_outputs = [] if compiled is None or not compiled.built else compiled._flat_metrics
    for of_output in of_outputs:
        if of_output is None or (len(of_outputs) > 1 and of_output.output_name != output_name):
            continue
        for metric in of_output.metrics:
            if isinstance(metric, BalancedAccuracy) and metric.total is not None:
                correct, total = metric.correct.numpy(), metric.total.numpy()
                return np.divide(correct, total, out=np.full_like(total, np.nan), where=total > 0)
    return None
