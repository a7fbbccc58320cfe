"""What determines a training: its options, checked, and written down in `config.json`."""

import math
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from gb_keras import backbones
from gb_keras.data import augmentation as augmentations
from gb_keras.data import manifest as manifests
from gb_keras.names import require_name
from gb_keras.stages import balance_options, methods, multi_label_methods, optimizers
from gb_keras.stages.files import read_json, remove_leftovers, require_empty

DTYPE_POLICIES = ("float32", "mixed_float16", "mixed_bfloat16")
# Where a run lies and what it prints has no influence on its result.
NOT_IN_CONFIG = ("output_dir", "checkpoint_steps", "resume", "verbose", "callbacks")
_MAY_CHANGE_ON_RESUME = ("data_dir", "log_dir", "versions", "strategy", "distribution")


def check_loss(loss: str) -> None:
    """Refuse what is no name of a loss. Which of them the data takes is seen when it is read.

    Args:
        loss: A name of `methods` or `multi_label_methods`.

    Raises:
        ValueError: It is neither.
    """
    known = dict.fromkeys([*methods.names(), *multi_label_methods.names()])
    require_name("loss", loss, known)


def check(arguments: Mapping[str, Any]) -> None:
    """Refuse arguments out of range, before any work is done.

    Args:
        arguments: Those of `train`, by name; without `backbone` where it is not to be found here.

    Raises:
        ValueError: One is out of its range.
    """
    if "backbone" in arguments:
        backbones.get(arguments["backbone"])
    check_loss(arguments["loss"])
    balance_options.check(arguments["loss"], arguments)
    require_name("optimizer", arguments["optimizer"], optimizers.OPTIMIZERS)
    require_name("schedule", arguments["schedule"], optimizers.SCHEDULES)
    require_name("dtype_policy", arguments["dtype_policy"], DTYPE_POLICIES)
    augmentations.check_names(arguments["augmentation"] or ())
    # Of several labels all losses take shares.
    if arguments["loss"] not in multi_label_methods.names() and _mixes(arguments):
        methods.require_soft_labels(arguments["loss"])
    leasts = {
        "epochs": 1,
        "batch_size": 1,
        "seed": 0,
        "freeze_epochs": 0,
        "image_size": 1,
        "checkpoint_steps": 1,
    }
    for name, least in leasts.items():
        value = arguments[name]
        if name in ("image_size", "checkpoint_steps") and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(
                f"Expected {name} to be an integer of at least {least}. Received: {name}={value!r}."
            )
    if arguments["freeze_epochs"] >= arguments["epochs"]:
        raise ValueError(
            "Expected freeze_epochs to be less than epochs, the number of all epochs. Received: "
            f"freeze_epochs={arguments['freeze_epochs']!r}, epochs={arguments['epochs']!r}."
        )
    rate = arguments["learning_rate"]
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 < rate < math.inf:
        raise ValueError(
            f"Expected learning_rate to be a finite number above 0. Received: {rate!r}. "
            "Try 0.001 with adam or adamw, 0.1 with sgd."
        )
    log_dir = arguments.get("log_dir")
    if log_dir is not None and Path(log_dir).is_file():
        raise ValueError(
            f"Expected log_dir to be a folder, or a new one. Received a file: {str(log_dir)!r}."
        )
    if arguments["verbose"] not in ("auto", 0, 1, 2):
        raise ValueError(
            f"Expected verbose to be 'auto', 0, 1 or 2. Received: {arguments['verbose']!r}."
        )


def as_written(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of `train` as `config.json` has them.

    Args:
        options: Some of them, by name.

    Example:
        >>> as_written({"backbone": Path("runs/vgg"), "augmentation": ("flip",), "epochs": 3})
        {'backbone': 'runs/vgg', 'augmentation': ['flip'], 'epochs': 3}
    """
    written = dict(options)
    for name in ("data_dir", "log_dir", "backbone", "weights"):
        if written.get(name) is not None:
            written[name] = os.fspath(written[name])
    if "augmentation" in written:
        # None and nothing are the same.
        written["augmentation"] = list(written["augmentation"] or ()) or None
    return written


def config(arguments: Mapping[str, Any], manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that determines the run, for `config.json`.

    Args:
        arguments: Those of `train`, by name.
        manifest: Of the data set.
    """
    *size, channels = manifest["image_shape"]
    image_size = arguments["image_size"]
    if image_size is not None:
        size = [image_size, image_size]
    elif None in size:
        size = [backbones.get(arguments["backbone"]).default_size] * 2
    options = {name: value for name, value in arguments.items() if name not in NOT_IN_CONFIG}
    return {
        "format": 1,
        **as_written(options),
        "data": manifest["data"],
        "data_options": manifest["options"],
        "num_classes": len(manifest["classes"]),
        "classes": manifest["classes"],
        "train_class_counts": manifest["splits"]["train"]["class_counts"],
        **(
            {
                "multi_label": True,
                "train_absent_counts": manifest["splits"]["train"]["absent_counts"],
            }
            if manifest.get("multi_label")
            else {}
        ),
        "input_shape": [*size, channels],
        "versions": {
            **manifests.versions(),
            "keras": keras.__version__,
            "python": platform.python_version(),
        },
    }


def check_run(run_dir: Path, config: dict[str, Any], resume: bool) -> bool:
    """See that a run's folder is new, or that its unfinished run is the one to resume.

    Args:
        run_dir: The run's folder.
        config: What determines the run, see `config`.
        resume: Whether to go on with what is there.

    Returns:
        Whether the run is finished, so that there is nothing left to do.

    Raises:
        FileExistsError: There is a run already, and it is not to be resumed.
        ValueError: The run to resume has other options.
    """
    # Checkpoints beside the model: a process was killed between the two last things it does.
    finished = (run_dir / "model.keras").exists() and not (run_dir / "checkpoints").exists()
    if finished and not resume:
        raise FileExistsError(
            f"Expected a new folder, or one with an unfinished run. Received: {str(run_dir)!r}, "
            "which holds a finished run. Name another folder; a finished run is never overwritten."
        )
    config_file = run_dir / "config.json"
    if not config_file.exists():
        if resume:
            # Of a process that was killed as it wrote the configuration.
            remove_leftovers(run_dir, config_file.name)
        require_empty(run_dir)
        return False
    if not resume:
        raise FileExistsError(
            f"Expected a new folder. Received: {str(run_dir)!r}, which holds an unfinished run. "
            "Go on with it by resume=True (--resume), or name another folder."
        )
    kind = "finished run" if finished else "unfinished run"
    require_same(kind, run_dir, read_json(config_file), config)
    return finished


def require_same(
    what: str, folder: Path, stored: Mapping[str, Any], config: Mapping[str, Any]
) -> None:
    """See that what is to go on is what was started.

    Args:
        what: What it is, in words.
        folder: Where it is.
        stored: What determined it when it was started.
        config: What determines it now, see `config`.

    Raises:
        ValueError: They differ in what makes a difference.
    """
    differences = [
        f"{name}={_short(config.get(name))}, was {_short(stored.get(name))}"
        for name in {**stored, **config}
        if name not in _MAY_CHANGE_ON_RESUME and config.get(name) != stored.get(name)
    ]
    if differences:
        raise ValueError(
            f"Expected the options that the {what} in {str(folder)!r} was started with. Received: "
            f"{'; '.join(differences)}. Resume with the same options and data, or name another "
            "folder."
        )


def soft_labels(config: Mapping[str, Any]) -> bool:
    """Whether labels of one class each become shares of classes.

    Args:
        config: What determines the run, see `config`.
    """
    return _mixes(config) and not config.get("multi_label")


def _mixes(config: Mapping[str, Any]) -> bool:
    return not augmentations.MIXING.isdisjoint(config["augmentation"] or ())


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
