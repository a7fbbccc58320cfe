"""Compare runs on the same data: one table, one picture; and train a row of losses to compare."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gb_keras.data.pipeline import read_manifest
from gb_keras.stages import balance_options, files, report_comparison
from gb_keras.stages.evaluate import evaluate

_RESULTS = ("comparison.json", "comparison.md", "comparison.html", "comparison.png")
_DEFAULT_BASELINE = "cross_entropy"
# Settings of a run that say where things are, not what is done.
_NO_INFLUENCE = ("data_dir", "log_dir")


def compare(
    evaluation_dirs: Sequence[str | os.PathLike],
    output_dir: str | os.PathLike,
    *,
    baseline: str | None = None,
) -> dict[str, Any]:
    """Compare evaluations of the same split; write `comparison.json`, `.md`, `.html` and `.png`.

    Besides the metrics of each run it tells how soon a run was as good as the baseline ever became:
    the first epoch at which its `val_balanced_accuracy` reaches the highest one of the baseline.

    Args:
        evaluation_dirs: Folders that `evaluate` wrote.
        output_dir: New folder for the result. It appears whole or not at all.
        baseline: Name, loss or folder of the run to compare with. Defaults to the run of
            `cross_entropy`, else to the first.

    Returns:
        The content of `comparison.json`. Its `epochs_to_baseline_best` is None for never.

    Raises:
        FileNotFoundError: A folder holds no evaluation.
        FileExistsError: `output_dir` already holds something.
        ValueError: No run, the same folder twice, runs on different data, or a baseline that no run
            or more than one run answers to.
    """
    files.require_empty(output_dir)
    folders = [Path(folder) for folder in evaluation_dirs]
    evaluations = [_read_evaluation(folder) for folder in folders]
    labels = _check_folders(folders)
    _check_same_data(evaluations, folders)
    names = unique_names(
        [
            (each["run"]["loss"], each["run"]["backbone"], f"seed {each['run']['seed']}", label)
            for each, label in zip(evaluations, labels, strict=True)
        ]
    )
    chosen = _find_baseline(baseline, names, evaluations, folders)
    target = _best(_validation(evaluations[chosen]))
    result = {
        "format": 1,
        "baseline": names[chosen],
        "baseline_best": target,
        **({"multi_label": True} if evaluations[0].get("multi_label") else {}),
        "data": evaluations[0]["data"],
        "split": evaluations[0]["split"],
        "num_classes_by_shot": evaluations[0]["num_classes_by_shot"],
        "thresholds": evaluations[0]["thresholds"],
        "runs": [
            {
                "name": name,
                "metrics": each["metrics"],
                "epochs_to_baseline_best": first_epoch_at(target, _validation(each)),
                "val_balanced_accuracy": _validation(each),
                "warnings": each["warnings"],
            }
            for name, each in zip(names, evaluations, strict=True)
        ],
        "different_settings": _different_settings([each["run"] for each in evaluations]),
    }
    with files.new_directory(output_dir) as folder:
        files.write_json(folder / "comparison.json", result)
        text = f"{report_comparison.markdown(result)}\n![Comparison](comparison.png)\n"
        files.write_text(folder / "comparison.md", text)
        files.write_text(folder / "comparison.html", report_comparison.page(result))
        report_comparison.picture(result, folder / "comparison.png")
    return result


def compare_losses(
    data_dir: str | os.PathLike,
    output_dir: str | os.PathLike,
    losses: Sequence[str],
    **train_options: Any,
) -> dict[str, Any]:
    """Train and evaluate one run for each loss, all else equal, and compare them.

    After an interruption the same call goes on: finished runs are kept, a started one is resumed.

    Args:
        data_dir: Folder that `prepare` wrote.
        output_dir: Folder for `<loss>/run`, `<loss>/evaluation` and `comparison`.
        losses: Names of losses, as `train` knows them.
        **train_options: Handed to `train`; options of balancing only to the losses that take
            them. Where they name a `log_dir`, each loss gets its own folder in it.

    Returns:
        The result of `compare`.

    Raises:
        ValueError: No loss or one twice, an option of balancing that none of them takes, or a
            finished run in `output_dir` has other options.
    """
    # Only this function trains; comparing alone does not load what training needs.
    from gb_keras.stages.train import train

    if not losses or len(set(losses)) < len(losses):
        raise ValueError(f"Expected at least one loss, each once. Received: losses={losses!r}.")
    for name in balance_options.given(train_options):
        balance_options.takers(name, losses)
    output_dir = Path(output_dir)
    for loss in losses:
        options = {**balance_options.without_others(train_options, loss), "loss": loss}
        if options.get("log_dir") is not None:
            options["log_dir"] = Path(options["log_dir"]) / loss
        _train_and_evaluate(train, data_dir, output_dir / loss, options)
    comparison = output_dir / "comparison"
    _remove_results(comparison)
    return compare([output_dir / loss / "evaluation" for loss in losses], comparison)


def unique_names(descriptions: Sequence[Sequence[str]]) -> list[str]:
    """Short names that differ: of each description no more parts than it takes.

    Args:
        descriptions: What each run can be called, the most telling part first. As wholes they
            differ, and all have the same number of parts.

    Example:
        >>> unique_names([("focal", "vgg", "seed 0"), ("focal", "vgg", "seed 1"),
        ...               ("ghm_c", "vgg", "seed 0")])
        ['focal, seed 0', 'focal, seed 1', 'ghm_c']
    """
    names = [parts[0] for parts in descriptions]
    for position in range(1, len(descriptions[0])):
        longer = list(names)
        for index, name in enumerate(names):
            same = [other for other, each in enumerate(names) if each == name]
            if len({descriptions[other][position] for other in same}) > 1:
                longer[index] = f"{name}, {descriptions[index][position]}"
        names = longer
    return names


def first_epoch_at(target: float | None, values: Sequence[float | None]) -> int | None:
    """First epoch, counted from 1, with a value of at least `target`; None for never.

    Example:
        >>> first_epoch_at(0.8, [0.5, None, 0.8, 0.9])
        3
    """
    if target is None:
        return None
    for epoch, value in enumerate(values, start=1):
        if value is not None and value >= target:
            return epoch
    return None


def _validation(evaluation: dict[str, Any]) -> list[float | None]:
    return evaluation["history"].get("val_balanced_accuracy", [])


def _best(values: Sequence[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _read_evaluation(folder: Path) -> dict[str, Any]:
    if not (folder / "metrics.json").is_file():
        raise FileNotFoundError(
            f"Expected a folder that evaluate wrote. Received: {str(folder)!r}, which has no "
            "metrics.json. Evaluate the run first."
        )
    return files.read_json(folder / "metrics.json")


def _check_folders(folders: list[Path]) -> list[str]:
    """What tells each folder from the others: its path below the folder that holds them all."""
    absolute = [os.path.abspath(folder) for folder in folders]
    if not folders or len(set(absolute)) < len(absolute):
        raise ValueError(
            "Expected at least one evaluation, each once. Received: "
            f"evaluation_dirs={[str(folder) for folder in folders]}."
        )
    common = os.path.commonpath(absolute)
    return [os.path.relpath(folder, common) for folder in absolute]


def _check_same_data(evaluations: list[dict[str, Any]], folders: list[Path]) -> None:
    aspects: dict[str, Callable[[dict[str, Any]], Any]] = {
        "data": lambda each: each["data"]["name"],
        "options": lambda each: each["data"]["options"],
        "classes": lambda each: [row["name"] for row in each["per_class"]],
        "split": lambda each: each["split"],
        "number of examples": lambda each: each["num_examples"],
        "shot thresholds": lambda each: each["thresholds"],
    }
    for each, folder in zip(evaluations, folders, strict=True):
        for aspect, of in aspects.items():
            if of(each) != of(evaluations[0]):
                first, other = _differing(of(evaluations[0]), of(each))
                raise ValueError(
                    f"Expected runs evaluated on the same data. Received another {aspect}: "
                    f"{_short(first)} in {str(folders[0])!r}, but {_short(other)} in "
                    f"{str(folder)!r}. Evaluate all runs on one data set, split and thresholds."
                )


def _find_baseline(
    baseline: str | None,
    names: list[str],
    evaluations: list[dict[str, Any]],
    folders: list[Path],
) -> int:
    """Index of the run to compare with."""
    losses = [each["run"]["loss"] for each in evaluations]
    if baseline is None:
        return losses.index(_DEFAULT_BASELINE) if _DEFAULT_BASELINE in losses else 0
    for called in (names, losses, [str(folder) for folder in folders], [f.name for f in folders]):
        found = [index for index, each in enumerate(called) if each == baseline]
        if len(found) == 1:
            return found[0]
    raise ValueError(
        f"Expected the baseline to be the name of one run: {names}. Received: "
        f"baseline={baseline!r}, which {'more than one' if found else 'no'} run answers to."
    )


def _different_settings(configs: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Values of the settings, other than the loss, in which the runs differ."""
    keys = dict.fromkeys(key for config in configs for key in config)
    columns = {
        key: [config.get(key) for config in configs]
        for key in keys
        if key not in ("loss", *_NO_INFLUENCE)
    }
    return {
        key: values
        for key, values in columns.items()
        if any(value != values[0] for value in values)
        and not any(isinstance(value, (dict, list)) for value in values)
    }


def _train_and_evaluate(
    train: Callable[..., Any],
    data_dir: str | os.PathLike,
    folder: Path,
    options: dict[str, Any],
) -> None:
    run, evaluation = folder / "run", folder / "evaluation"
    if (run / "model.keras").is_file():
        _check_finished_run(run, data_dir, options)
    else:
        # Starts a new run, or goes on with an unfinished one.
        # On this process alone, whatever the others that may be there do, unless options say more.
        train(data_dir, run, **({"strategy": "none"} | options), resume=True)
    if not (evaluation / "metrics.json").is_file():
        evaluate(run, data_dir, evaluation)


def _check_finished_run(run: Path, data_dir: str | os.PathLike, options: dict[str, Any]) -> None:
    """Refuse to take a run of other options or data for the one asked for."""
    config = files.read_json(run / "config.json")
    manifest = read_manifest(data_dir)
    # Only who trains loads what training needs.
    from gb_keras.stages.train_config import NOT_IN_CONFIG, as_written

    wanted = {**as_written(options), "data": manifest["data"], "data_options": manifest["options"]}
    for name, value in wanted.items():
        # What an older run does not name, it did not have.
        if name not in (*_NO_INFLUENCE, *NOT_IN_CONFIG) and config.get(name) != value:
            raise ValueError(
                f"Expected the finished run in {str(run)!r} to be one of the same options. "
                f"Received: {name}={_short(value)}, but it was trained with "
                f"{_short(config.get(name))}. Name another output folder."
            )


def _remove_results(folder: Path) -> None:
    """Make place for a new comparison; whatever else is in the folder stays, and is in the way."""
    if folder.is_dir():
        for name in _RESULTS:
            (folder / name).unlink(missing_ok=True)


def _differing(first: Any, other: Any) -> tuple[Any, Any]:
    """Of two dicts only the entries that differ; other values as they are."""
    if not isinstance(first, dict) or not isinstance(other, dict):
        return first, other
    names = [name for name in {**first, **other} if first.get(name) != other.get(name)]
    return {n: first.get(n) for n in names}, {n: other.get(n) for n in names}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."
