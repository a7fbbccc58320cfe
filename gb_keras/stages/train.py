"""Train a model on a prepared data set: a folder in, a run folder out."""

import contextlib
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import rich
import rich.table

from gb_keras import backbones, distribution
from gb_keras.backbones import saved
from gb_keras.callbacks import GradientBalanceTensorBoard
from gb_keras.data import manifest as manifests
from gb_keras.data.pipeline import load_split
from gb_keras.metrics import BalancedAccuracy
from gb_keras.multi_label_metrics import MultiLabelAccuracy, MultiLabelBalancedAccuracy
from gb_keras.names import require_name
from gb_keras.stages import (
    balance_options,
    methods,
    multi_label_methods,
    optimizers,
    train_config,
    workers,
)
from gb_keras.stages.checkpoints import EpochCheckpoint
from gb_keras.stages.files import full_disk_explained, read_json, write_json
from gb_keras.stages.folder_lock import alone
from gb_keras.stages.history import History, best_epoch, last_epoch
from gb_keras.stages.logs import PromptTensorBoard
from gb_keras.stages.precision import dtype_policy
from gb_keras.tensorboard.history import density_over_steps
from gb_keras.training import GradientBalancedModel


def train(
    data_dir: str | os.PathLike,
    output_dir: str | os.PathLike,
    *,
    backbone: str | os.PathLike = "small_cnn",
    weights: str | os.PathLike | None = None,
    freeze_epochs: int = 0,
    loss: str = "gradient_balanced",
    density_exponent: float | None = None,
    prior_strength: float | None = None,
    max_weight: float | None = None,
    momentum: float | None = None,
    noise_exponent: float | None = None,
    label_smoothing: float | None = None,
    epochs: int = 20,
    batch_size: int = 64,
    optimizer: str = "adam",
    learning_rate: float = 1e-3,
    schedule: str = "cosine",
    image_size: int | None = None,
    augmentation: Sequence[str] | None = None,
    dtype_policy: str = "float32",
    jit_compile: bool = False,
    strategy: str = distribution.AUTO,
    seed: int = 0,
    checkpoint_steps: int | None = None,
    resume: bool = False,
    log_dir: str | os.PathLike | None = None,
    verbose: str | int = "auto",
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> dict[str, Any]:
    """Train a classifier and leave it with its history in a folder.

    The folder holds `model.keras` (logits of images with values 0..255), `config.json` (what it
    takes to repeat the run), `history.json` and `history.csv` (all epochs), `logs` (TensorBoard),
    `gradient_density.json` (samples and weights by gradient norm, over steps; of multi-label data
    for `positives` and for `negatives`) and, until the run is finished, `checkpoints` (the state
    after the last two epochs, or within one). The same arguments on the same data give the same
    model (on one kind of machine; a GPU may round differently each time). An interrupted run goes
    on with `resume=True` and ends as if it had not been interrupted; only what is watched beside
    the training is then counted anew: weights by gradient norm, and the density of a loss that is
    not balanced.

    Args:
        data_dir: Folder that `prepare` wrote.
        output_dir: New folder for the run, or that of an unfinished run with `resume`.
        backbone: Name of the model, `hub:` and a preset, or a saved one to go on from: a `.keras`
            file or the folder of a finished run, see `gb_keras.backbones.build`. Of a run's folder
            the classes that both data sets name alike keep what was learned of them, in the
            classifier and in the gradient statistic; new ones start anew.
        weights: None, `"imagenet"`, a file or `"preset"`, see `gb_keras.backbones.build`.
        freeze_epochs: Epochs at the start in which only the classifier learns, at a constant
            learning rate; the schedule is that of the epochs after them. Below `epochs`.
        loss: Name of the method, see `gb_keras.stages.methods.method`; for multi-label data
            `gb_keras.stages.multi_label_methods.method`.
        density_exponent: How far a crowd of equally hard samples is weighted down, at least 0.
            None, here and for the next five: the method's own default. They are options of
            `gb_keras.GradientBalancedLoss`; of other methods, `logit_adjustment` takes
            `prior_strength` (its tau), `ghm_c` takes `momentum` and `label_smoothing` takes
            `label_smoothing`.
        prior_strength: Scale of the class margin, at least 0.
        max_weight: Cap of the weights by density, at least 1.
        momentum: Momentum of the running histogram, in [0, 1).
        noise_exponent: How far a sample is weighted down for the probability that its label is
            wrong, at least 0.
        label_smoothing: Share of a label that goes to other classes, in [0, 1).
        epochs: Passes over the training split, at least 1.
        batch_size: Images in a step, at least 1, over all devices and workers.
        optimizer: `"adam"`, `"adamw"` or `"sgd"` (momentum 0.9).
        learning_rate: Learning rate at the start, above 0.
        schedule: `"constant"`, `"cosine"` or `"step"`, see
            `gb_keras.stages.optimizers.learning_rate_schedule`.
        image_size: Height and width in pixels that images are resized to. None keeps the size of
            the data set; where its images have several sizes, None is the backbone's default.
        augmentation: What is done to training images, any of `"crop"`, `"flip"`, `"rand_augment"`,
            `"mixup"` and `"cutmix"`, see `gb_keras.data.pipeline.load_split`, or None. The last two
            blend labels, which not all methods take.
        dtype_policy: `"float32"`, `"mixed_float16"` or `"mixed_bfloat16"`.
        jit_compile: Whether to compile steps with XLA, for one device of a process.
        strategy: `"auto"`, `"none"`, `"mirrored"` or `"multi-worker"`, see
            `gb_keras.distribution.strategy`. Several workers all make this call, with folders that
            they share; the chief writes. A run may be resumed with another strategy or number of
            workers.
        seed: Seed of the initial weights and of the order of the data, at least 0. Also set for
            Python, NumPy and TensorFlow.
        checkpoint_steps: Steps after which the state is saved within an epoch, too. None: after
            each epoch, and on SIGTERM, whichever of several workers it was sent to.
        resume: Whether to go on with an unfinished run in `output_dir`; a new folder is started,
            and of a finished run of the same options nothing is done, so that a job which restarts
            may always say so.
        log_dir: Folder for TensorBoard logs of this run alone: where an interrupted one goes on,
            what was logged after its last checkpoint is removed. Defaults to `logs` in
            `output_dir`.
        verbose: 0 silent, 1 progress bar, 2 a line for each epoch; `"auto"` is 1 in a terminal
            and 2 elsewhere.
        callbacks: More callbacks, called after the state of an epoch is saved.

    Returns:
        `{"run_dir", "epochs", "resumed_at_epoch", "seconds", "best_epoch", "final": {metric:
        value}}`, with the epoch of the best balanced accuracy in validation (counted from 1), and
        the metrics of the last epoch.

    Raises:
        ValueError: An argument out of its range, a loss that cannot take blended labels or an
            option of balancing, or other options than the run to resume has.
        FileNotFoundError: `data_dir` holds no prepared data set, or there is no saved model or
            file of weights where they were said to be.
        ConnectionError: Weights could not be downloaded.
        OSError: The disk is full. What was saved before is whole.
        BlockingIOError: Another training works in `output_dir`.
        FileExistsError: `output_dir` holds a run already (without `resume`), or something else.
        FloatingPointError: The loss has become infinite or not a number.
    """
    arguments = dict(locals())  # All arguments by name, as long as this is the first line.
    # Before anything else that TensorFlow does.
    devices = distribution.strategy(strategy)
    distributed = distribution.describe(devices)
    train_config.check(arguments)
    workers.check_compilation(devices, jit_compile)
    manifest = manifests.read_manifest(data_dir)
    multi_label = manifest.get("multi_label", False)
    require_name("loss", loss, (multi_label_methods if multi_label else methods).names())
    config = train_config.config(arguments, manifest) | {"distribution": distributed.as_dict()}
    run_dir = Path(output_dir)
    finished = train_config.check_run(run_dir, config, resume)
    if verbose == "auto":
        verbose = 1 if sys.stdout.isatty() else 2
    if verbose and distributed.num_replicas > 1:
        rich.print(f"Distribution: {distributed}")
    if not distributed.is_chief:
        verbose = 0

    if finished:
        # A job that was ended in its last instant and is started again has nothing left to do.
        history = read_json(run_dir / "history.json")
        summary = _summary(run_dir, history, epochs, 0.0)
        if verbose:
            _print(config, history, summary)
            rich.print("Nothing was done: this run is finished.")
        return summary

    start = time.monotonic()
    method = _method(config)
    logs = log_dir or run_dir / "logs"
    soft_labels = train_config.soft_labels(config)
    with devices.scope():
        model = _new_model(config, method)
    num_examples = manifest["splits"]["train"]["num_examples"]
    steps_per_epoch = math.ceil(num_examples / batch_size)
    workers.check_batches(model, num_examples, batch_size)
    checkpoint = EpochCheckpoint(run_dir, distributed.is_chief, checkpoint_steps, logs)
    first_epoch, first_step = checkpoint.num_epochs, checkpoint.num_steps
    # From here on workers find what the chief writes.
    num_steps = first_epoch * steps_per_epoch + first_step
    distribution.require_same(devices, "number of finished steps", num_steps)
    # Only now: a run whose weights could not be had has not begun.
    if distributed.is_chief and not (run_dir / "config.json").exists():
        write_json(run_dir / "config.json", config)

    def fit(start_epoch: int, start_step: int, end_epoch: int) -> None:
        size = tuple(config["input_shape"][:2])
        observers = []
        if method.observable:
            observers.append(GradientBalanceTensorBoard(logs, class_names=config["classes"]))
        model.fit(
            load_split(
                data_dir,
                "train",
                batch_size=batch_size,
                image_size=size,
                shuffle=True,
                seed=seed,
                repeat=True,
                start_epoch=start_epoch,
                start_step=start_step,
                class_sampling=method.class_sampling,
                augmentation=config["augmentation"] or (),
            ),
            validation_data=load_split(
                data_dir,
                "validation",
                batch_size=batch_size,
                image_size=size,
                one_hot=soft_labels,
            ),
            epochs=end_epoch,
            initial_epoch=start_epoch,
            steps_per_epoch=steps_per_epoch - start_step,
            shuffle=False,  # The stream is shuffled already.
            class_weight=method.class_weight,
            verbose=verbose,
            callbacks=[
                *method.callbacks,
                keras.callbacks.TerminateOnNaN(),
                *workers.of_chief(devices, PromptTensorBoard(logs, write_graph=False)),
                *observers,
                checkpoint,
                *callbacks,
            ],
        )

    # Workers share the folder; the chief keeps it.
    lock = alone(run_dir, "training") if distributed.is_chief else contextlib.nullcontext()
    with lock, full_disk_explained(run_dir, _MAKE_ROOM):
        # The optimizer of a phase knows what learns in it, so each has its own.
        started = False
        for frozen, end_epoch in ((True, freeze_epochs), (False, epochs)):
            if end_epoch == 0 or (first_epoch, first_step) > (end_epoch, 0):
                continue
            with backbones.freeze(model) if frozen else contextlib.nullcontext():
                num_steps = 0 if frozen else (epochs - freeze_epochs) * steps_per_epoch
                with devices.scope():
                    _compile(model, config, method, num_steps)
                    if not started and not checkpoint.restore(model):
                        _transfer(model, config, verbose)
                started = True
                with checkpoint.saving_on_termination():
                    if checkpoint.num_steps:
                        # What is left of an epoch has fewer steps than those after it.
                        fit(first_epoch, first_step, first_epoch + 1)
                    if checkpoint.num_epochs < end_epoch:
                        fit(checkpoint.num_epochs, 0, end_epoch)
        if distributed.is_chief:
            # Read back from the logs, which hold the epochs before an interruption, too.
            write_json(run_dir / "gradient_density.json", _gradient_density(logs, multi_label))
        workers.save(model, run_dir / "model.keras")
        checkpoint.remove()
    # None leaves before all is written.
    distribution.require_same(devices, "number of epochs", epochs)
    summary = _summary(run_dir, checkpoint.history, first_epoch, time.monotonic() - start)
    if verbose:
        _print(config, checkpoint.history, summary)
    return summary


_MAKE_ROOM = (
    "Make room, and go on with resume=True (--resume): what was saved before is whole, and "
    "training goes on from there."
)


def _method(config: Mapping[str, Any]) -> methods.Method:
    counts = config["train_class_counts"]
    balance = balance_options.given(config)
    if config.get("multi_label"):
        entry_counts = np.array([config["train_absent_counts"], counts])
        return multi_label_methods.method(config["loss"], entry_counts, **balance)
    return methods.method(
        config["loss"], counts, config["epochs"], train_config.soft_labels(config), **balance
    )


def _gradient_density(logs: str | os.PathLike, multi_label: bool) -> dict[str, Any]:
    """Of one label the statistic's density and weights; of several labels those of each sign."""
    if not multi_label:
        return density_over_steps(logs)
    return {sign: density_over_steps(logs, f"output/{sign}") for sign in ("positives", "negatives")}


def _metrics(config: Mapping[str, Any]) -> dict[str, list[keras.metrics.Metric]]:
    """Metrics for `compile`; those of several labels leave out what is not known."""
    if config.get("multi_label"):
        return {"weighted_metrics": [MultiLabelAccuracy(), MultiLabelBalancedAccuracy()]}
    of_labels = keras.metrics.SparseCategoricalAccuracy
    if train_config.soft_labels(config):
        of_labels = keras.metrics.CategoricalAccuracy
    return {"metrics": [of_labels(name="accuracy"), BalancedAccuracy()]}


def _new_model(config: Mapping[str, Any], method: methods.Method) -> keras.Model:
    """A new model of the run's configuration, not compiled."""
    with dtype_policy(config["dtype_policy"]):
        model = backbones.build(
            config["backbone"],
            tuple(config["input_shape"]),
            config["num_classes"],
            seed=config["seed"],
            logit_scale=method.logit_scale,
            weights=config["weights"],
        )
        return GradientBalancedModel.from_model(model) if method.balanced else model


def _compile(
    model: keras.Model, config: Mapping[str, Any], method: methods.Method, num_steps: int
) -> None:
    """Make a model ready for `fit`; what its statistic has seen already, it keeps.

    Args:
        model: The model; of a frozen one the classifier alone will learn.
        config: The run's configuration.
        method: The run's method.
        num_steps: Steps of the learning rate schedule; 0 for a constant rate.
    """
    learning_rate = config["learning_rate"]
    if num_steps:
        learning_rate = optimizers.learning_rate_schedule(
            config["schedule"], learning_rate, num_steps
        )
    seen = getattr(model, "gradient_density", None)
    with dtype_policy(config["dtype_policy"]):
        optimizer = optimizers.make_optimizer(config["optimizer"], learning_rate)
        if config["dtype_policy"] == "mixed_float16":
            # Keras would do it by itself, but then could load the model only where this policy is
            # the global one.
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        model.compile(
            optimizer=optimizer,
            loss=method.loss,
            **_metrics(config),
            jit_compile=config["jit_compile"],
        )
    if seen is not None:
        model.gradient_density.take_over(seen, range(config["num_classes"]))


def _transfer(model: keras.Model, config: Mapping[str, Any], verbose: str | int) -> None:
    """Take over the classes of an earlier run, where the backbone is one."""
    file = saved.model_file(config["backbone"])
    if file is None or not file.with_name("config.json").exists():
        return
    earlier = read_json(file.with_name("config.json"))
    known = {name: index for index, name in enumerate(earlier["classes"])}
    sources = [known.get(name) for name in config["classes"]]
    saved.transfer_classes(saved.load(file, compiled=True), model, sources)
    if verbose:
        num_known = sum(source is not None for source in sources)
        rich.print(f"{num_known} of {len(sources)} classes are known to {config['backbone']}.")


def _summary(run_dir: Path, history: History, first_epoch: int, seconds: float) -> dict[str, Any]:
    return {
        "run_dir": str(run_dir),
        "epochs": len(history["val_balanced_accuracy"]),
        "resumed_at_epoch": first_epoch or None,
        "seconds": seconds,
        "best_epoch": best_epoch(history),
        "final": last_epoch(history),
    }


def _print(config: Mapping[str, Any], history: History, summary: Mapping[str, Any]) -> None:
    best = summary["best_epoch"]
    table = rich.table.Table(
        title=f"{config['loss']} on {config['data']} ({config['backbone']})", title_justify="left"
    )
    table.add_column("metric")
    table.add_column(f"last epoch ({summary['epochs']})", justify="right")
    table.add_column(f"best epoch ({best})", justify="right")
    for name, values in history.items():
        table.add_row(name, f"{values[-1]:.4f}", f"{values[best - 1]:.4f}")
    rich.print(table)
    rich.print(f"Run of {summary['seconds']:.1f} s in {summary['run_dir']}")
