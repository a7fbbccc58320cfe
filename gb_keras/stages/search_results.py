"""What a search leaves: the best options, a table of the trials, a page with Optuna's plots."""

import inspect
import os
from typing import Any

import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from gb_keras.stages import files, report_search, search_study
from gb_keras.stages.search_plan import Plan
from gb_keras.stages.search_space import METRIC
from gb_keras.stages.train import train

# What a run has of its own, and the data set, which has another name on the command line.
_NOT_OPTIONS = ("data_dir", "log_dir")


def write(study: optuna.Study, plan: Plan) -> dict[str, Any]:
    """Write `best_config.json` and `search.html`.

    Args:
        study: The study, open.
        plan: What the search was to do.

    Returns:
        What `search` returns.

    Raises:
        RuntimeError: No trial has come to its end.
    """
    trials = study.get_trials(deepcopy=False)
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if not complete:
        raise RuntimeError(
            "Expected a trial that has come to its end. None of "
            f"{len(trials)} has. The same command goes on; give it more time."
        )
    best = search_study.best(complete)
    first = trials[0]
    result = {
        "best_trial": best.number,
        "best": best.value,
        "default": first.value if first.state == TrialState.COMPLETE else None,
        "options": best.params,
        "num_trials": {
            state.name.lower(): sum(trial.state == state for trial in trials)
            for state in search_study.FINISHED
        },
    }
    config = files.read_json(search_study.run_dir(plan.folder, best.number) / "config.json")
    files.write_json(plan.folder / "best_config.json", _options(config))
    files.write_text(plan.folder / "search.html", report_search.page(study, plan, result))
    return result


def write_table(study: optuna.Study, plan: Plan) -> None:
    """Write `trials.csv`, also of a search that has found nothing yet.

    Args:
        study: The study, open.
        plan: What the search was to do.
    """
    table = pd.DataFrame([_row(plan, trial) for trial in study.get_trials(deepcopy=False)])
    files.write_text(plan.folder / "trials.csv", table.to_csv(index=False))


def _options(config: dict[str, Any]) -> dict[str, Any]:
    """Of a run's configuration what `gb-keras train --config` takes."""
    names = [name for name in inspect.signature(train).parameters if name not in _NOT_OPTIONS]
    known = {name: config[name] for name in names if config.get(name) is not None}
    # Wherever the file is read from.
    return {"data": os.path.abspath(config["data_dir"]), **known}


def _row(plan: Plan, trial: FrozenTrial) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "state": trial.state.name.lower(),
        METRIC: trial.value,
        "epochs": len(trial.intermediate_values),
        "seconds": trial.duration.total_seconds() if trial.duration else None,
        **{each.name: trial.params.get(each.name) for each in plan.searches},
        "same_as": trial.user_attrs.get("same_as"),
        "error": trial.user_attrs.get("error"),
    }
