"""Search the options of a training with Optuna: data in, the best options out."""

import multiprocessing.connection
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from gb_keras.stages import search_results, search_space, search_study
from gb_keras.stages.search_plan import Plan, make_plan
from gb_keras.stages.search_space import METRIC, Search
from gb_keras.stages.search_study import run_dir
from gb_keras.stages.search_worker import End, Worker


def search(
    data_dir: str | os.PathLike,
    output_dir: str | os.PathLike,
    searches: Sequence[Search] | None = None,
    *,
    train_options: Mapping[str, Any] | None = None,
    num_trials: int = 20,
    num_jobs: int = 1,
    pruner: str = "median",
    storage: str | None = None,
    seed: int = 0,
    timeout: float | None = None,
) -> dict[str, Any]:
    """Train with many values of some options; say which are best, and how they were found.

    Optuna draws the values (its `TPESampler`). The best trial has the greatest balanced accuracy on
    validation data after its last epoch. The first trial has the defaults, as far as they are in
    the space, so that it shows what the search has gained. Values that a finished trial had already
    would give the same again: they count as a trial, with its result, and are not trained.

    The folder holds `best_config.json` (what `gb-keras train --config` takes), `trials.csv`,
    `search.html` (a page with Optuna's plots), `search.db` (Optuna's study), `search.json` (what
    determines the search) and in `trials` the run of each trial, where that of the best has its
    `model.keras` still. An interrupted search goes on by the same call, and its unfinished trials
    from their last epoch; so does a finished one with more trials.

    Args:
        data_dir: Folder that `prepare` wrote.
        output_dir: New folder, or that of a search to go on with.
        searches: What is searched. None: the loss and its options of balancing, and the learning
            rate, see `gb_keras.stages.search_space.default_space`; less what `train_options` has.
        train_options: Other options of `train`, the same for all trials. Options of balancing go
            to the losses that take them.
        num_trials: Trials in all, those of earlier calls included, at least 1.
        num_jobs: Trials at the same time, at least 1, each in a process of its own. Of several
            GPUs each process takes one.
        pruner: `"median"` or `"none"`, see `gb_keras.stages.search_study.make_pruner`.
        storage: Optuna's URL of a database. Defaults to an SQLite file in the folder.
        seed: Seed of what is drawn, at least 0. With one job the same call draws the same.
        timeout: Seconds after which no more trials are started. None: no end.

    Returns:
        `{"best_trial", "best", "default", "options", "num_trials": {state: number}}`, with the
        number of the best trial, its balanced accuracy, that of the first trial (None if it has
        failed), and the values that were searched.

    Raises:
        ValueError: An argument out of its range, an option that is no option of `train`, or other
            options than the search to go on with has.
        FileNotFoundError: `data_dir` holds no prepared data set.
        FileExistsError: `output_dir` holds something else.
        BlockingIOError: Another search works in `output_dir`.
        RuntimeError: More than a quarter of the trials failed.
    """
    for name, value, least in (
        ("num_trials", num_trials, 1),
        ("num_jobs", num_jobs, 1),
        ("seed", seed, 0),
    ):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(
                f"Expected {name} to be an integer of at least {least}. Received: {name}={value!r}."
            )
    plan = make_plan(data_dir, output_dir, searches, train_options or {})
    settings = {
        **plan.config,
        "search": [str(each) for each in plan.searches],
        "pruner": pruner,
        "search_seed": seed,
    }
    with search_study.open_study(
        plan.folder,
        settings,
        plan.first(),
        storage=storage,
        pruner=search_study.make_pruner(pruner, plan.arguments["epochs"]),
        seed=seed,
    ) as study:
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            _run(_Trials(study, plan), num_trials, num_jobs, deadline)
        finally:
            search_results.write_table(study, plan)
        return search_results.write(study, plan)


class _Trials:
    """The trials of a search, on their way between study and processes."""

    def __init__(self, study: optuna.Study, plan: Plan):
        self.study = study
        self.plan = plan
        self._unfinished = search_study.unfinished(study)

    def count(self, *states: TrialState) -> int:
        """How many trials are in any of some states."""
        return len(self.study.get_trials(deepcopy=False, states=states))

    def next(self, num_trials: int) -> optuna.Trial | None:
        """A trial to train: one that was interrupted, or a new one where there are too few."""
        if self._unfinished:
            return self._unfinished.pop(0)
        while self.count(*search_study.FINISHED, TrialState.RUNNING) < num_trials:
            trial = self.study.ask()
            self._values(trial)
            twin = search_study.twin(self.study, trial)
            if twin is None:
                return trial
            trial.set_user_attr("same_as", twin.number)
            self.study.tell(trial, twin.value)
            print(
                f"trial {trial.number} would be trial {twin.number} again: not trained", flush=True
            )
        return None

    def _values(self, trial: optuna.Trial) -> dict[str, Any]:
        return search_study.suggest(trial, self.plan.searches, self.plan.arguments["loss"])

    def start(self, trial: optuna.Trial, worker: Worker) -> None:
        """Let a process train a trial."""
        options = self.plan.options(self._values(trial))
        if options.get("verbose", "auto") == "auto":
            options["verbose"] = 0
        folder = run_dir(self.plan.folder, trial.number)
        if options.get("log_dir") is not None:
            options["log_dir"] = Path(options["log_dir"]) / folder.name
        worker.start(self.plan.data_dir, folder, options)

    def is_hopeless(self, trial: optuna.Trial, values: Sequence[float]) -> bool:
        """Report a trial's epochs; whether it is to end before its last one."""
        search_study.report(trial, values)
        last = trial.params.get("epochs", self.plan.arguments["epochs"])
        return len(values) < last and trial.should_prune()

    def end(self, trial: optuna.Trial, end: End) -> None:
        """Tell the study of a trial's end, and forget models that are not the best one."""
        search_study.report(trial, end.values)
        if end.state == "complete":
            self.study.tell(trial, end.values[-1])
        elif end.state == "pruned":
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            trial.set_user_attr("error", end.error)
            self.study.tell(trial, state=TrialState.FAIL)
        complete = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        best = search_study.best(complete) if complete else None
        for other in complete:
            if other is not best:
                (run_dir(self.plan.folder, other.number) / "model.keras").unlink(missing_ok=True)


def _run(trials: _Trials, num_trials: int, num_jobs: int, deadline: float | None) -> None:
    """Train until there are as many trials as wanted, or time is up."""
    workers: list[Worker | None] = [None] * num_jobs
    busy: dict[multiprocessing.connection.Connection, tuple[Worker, optuna.Trial]] = {}
    try:
        while True:
            for index, worker in enumerate(workers):
                if worker is not None and worker.connection in busy:
                    continue
                in_time = deadline is None or time.monotonic() < deadline
                trial = trials.next(num_trials) if in_time else None
                if trial is None:
                    break
                if worker is not None and not worker.is_alive:
                    worker.stop()
                    worker = None
                if worker is None:
                    worker = workers[index] = Worker(index, shares_gpus=num_jobs > 1)
                trials.start(trial, worker)
                busy[worker.connection] = worker, trial
            if not busy:
                return
            for connection in multiprocessing.connection.wait(list(busy)):
                worker, trial = busy[connection]  # type: ignore[index]
                message = worker.receive()
                if not isinstance(message, End):
                    worker.answer(not trials.is_hopeless(trial, message.values))
                    continue
                del busy[worker.connection]
                trials.end(trial, message)
                _print(trials, trial, message, num_trials)
                if message.error:
                    _check_failures(trials, message.error, num_trials)
    finally:
        started = [worker for worker in workers if worker is not None]
        for worker in started:
            worker.stop()
        for worker in started:
            worker.join()


def _check_failures(trials: _Trials, error: str, num_trials: int) -> None:
    num_failed, most = trials.count(TrialState.FAIL), search_space.max_failed(num_trials)
    if num_failed > most:
        raise RuntimeError(
            f"Expected at most {most} of {num_trials} trials to fail. Received: {num_failed}, the "
            f"last with {error} Search other values in another folder."
        )


def _print(trials: _Trials, trial: optuna.Trial, end: End, num_trials: int) -> None:
    how = end.error
    if end.values:
        how = f"{METRIC} {end.values[-1]:.4f} after {len(end.values)} epochs"
    setting = ", ".join(f"{name} {_short(value)}" for name, value in trial.params.items())
    number = trials.count(*search_study.FINISHED)
    print(f"{number}/{num_trials} trial {trial.number} {end.state}: {how} ({setting})", flush=True)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
