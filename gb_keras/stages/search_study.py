"""The Optuna study of a search: opened or gone on with, its trials asked for and told of."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from gb_keras.names import require_name
from gb_keras.stages import balance_options, train_config
from gb_keras.stages.files import read_json, require_empty, write_json
from gb_keras.stages.folder_lock import alone
from gb_keras.stages.search_space import Search

PRUNERS = ("median", "none")
SETTINGS = "search.json"
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
# Trials that are trained to their end before others are compared with them.
_UNPRUNED = 4
optuna.logging.set_verbosity(optuna.logging.WARNING)


def make_pruner(name: str, epochs: int) -> optuna.pruners.BasePruner:
    """Optuna's pruner of a name.

    Args:
        name: `"median"`: after a third of the epochs a trial ends whose metric is worse than the
            median of the others at the same epoch. `"none"`: all trials are trained to their end.
        epochs: Epochs of a trial.

    Raises:
        ValueError: There is no such pruner.
    """
    require_name("pruner", name, PRUNERS)
    if name == "none":
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(_UNPRUNED, n_warmup_steps=epochs // 3)


@contextlib.contextmanager
def open_study(
    folder: Path,
    settings: Mapping[str, Any],
    first: Mapping[str, Any],
    *,
    storage: str | None,
    pruner: optuna.pruners.BasePruner,
    seed: int,
) -> Iterator[optuna.Study]:
    """The study of a folder, which nobody else has open meanwhile.

    Args:
        folder: Folder of the search.
        settings: What determines the search, for `search.json`.
        first: Values of the first trial; what is missing is drawn.
        storage: Optuna's URL of a database, or None for `search.db` in the folder.
        pruner: The pruner.
        seed: Seed of what is drawn.

    Raises:
        FileExistsError: The folder holds something else, or the database has a study of its name.
        BlockingIOError: Another search has it open.
        ValueError: The search in it has other settings.
    """
    goes_on = (folder / SETTINGS).exists()
    if not goes_on:
        require_empty(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder, "search"):
        if goes_on:
            train_config.require_same("search", folder, read_json(folder / SETTINGS), settings)
        database = optuna.storages.RDBStorage(
            storage or f"sqlite:///{(folder / 'search.db').absolute()}"
        )
        name = folder.absolute().name
        try:
            study = optuna.create_study(
                storage=database,
                study_name=name,
                direction="maximize",
                pruner=pruner,
                load_if_exists=goes_on,
            )
            # Drawn anew where a search goes on, not the same once more.
            study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.get_trials()))
            if not goes_on:
                study.enqueue_trial(dict(first))
                write_json(folder / SETTINGS, settings)
            yield study
        except optuna.exceptions.DuplicatedStudyError:
            raise FileExistsError(
                f"Expected a database without a study {name!r}, the name of the output folder. "
                f"Received: {storage!r}, which has one. Name another folder."
            ) from None
        finally:
            database.remove_session()
            database.engine.dispose()


def unfinished(study: optuna.Study) -> list[optuna.Trial]:
    """Trials that were training when a search ended; a study that is open has no other such."""
    return [
        optuna.Trial(study, trial._trial_id)
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    ]


def suggest(trial: optuna.Trial, searches: Sequence[Search], loss: str) -> dict[str, Any]:
    """Values of what is searched, as arguments of `train`.

    Options of balancing have values only where the loss takes them. A trial that was asked before
    says the same again.

    Args:
        trial: The trial.
        searches: What is searched.
        loss: The loss, where it is not searched.
    """
    values: dict[str, Any] = {}
    for search in sorted(searches, key=lambda each: each.name != "loss"):
        taken = balance_options.defaults(values.get("loss", loss))
        if search.name in balance_options.NAMES and search.name not in taken:
            continue
        space = search.python_values
        if search.kind == "categorical":
            values[search.name] = trial.suggest_categorical(search.name, space)
        else:
            draw = trial.suggest_int if search.kind == "int" else trial.suggest_float
            values[search.name] = draw(search.name, *space, log=search.logarithmic)
    return values


def best(complete: Sequence[FrozenTrial]) -> FrozenTrial:
    """The best trial, of equal ones the first: the one that was trained.

    Args:
        complete: Trials that have come to their end, one at least, by number.

    Example:
        >>> study = optuna.create_study()
        >>> for value in (0.5, 0.7, 0.7):
        ...     _ = study.tell(study.ask(), value)
        >>> best(study.trials).number
        1
    """
    return max(complete, key=lambda trial: trial.values[0])


def twin(study: optuna.Study, trial: optuna.Trial) -> FrozenTrial | None:
    """A finished trial with the same values, which with the same seed has the same result.

    Args:
        study: The study.
        trial: A trial whose values are suggested.

    Example:
        >>> study = optuna.create_study()
        >>> for _ in range(2):
        ...     trial = study.ask()
        ...     _ = trial.suggest_categorical("loss", ["focal"])
        ...     same = twin(study, trial)
        ...     _ = study.tell(trial, 0.5)
        >>> same.number
        0
    """
    for other in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        if other.params == trial.params:
            return other
    return None


def report(trial: optuna.Trial, values: Sequence[float]) -> None:
    """Tell a study of the metric after each epoch, of which it may know the first already."""
    known = trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values
    for epoch, value in enumerate(values, start=1):
        if epoch not in known:
            trial.report(value, epoch)


def run_dir(folder: Path, number: int) -> Path:
    """Folder of a trial's run.

    Args:
        folder: Folder of the search.
        number: Number of the trial.
    """
    return folder / "trials" / f"{number:04d}"
