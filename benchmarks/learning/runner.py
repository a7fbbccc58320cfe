"""Runs trials in processes of their own and records each as soon as it is done."""

import functools
import os
from pathlib import Path
from typing import Any

import joblib
import rich.console
import rich.progress
import tensorflow as tf

from benchmarks.learning import records
from benchmarks.learning.trial import Trial, run


def run_all(trials: list[Trial], path: Path, jobs: int) -> list[str]:
    """Run the trials that a file does not hold yet.

    Args:
        trials: The trials.
        path: File of records; each is added when its trial is done.
        jobs: Trials at a time, at least 1.

    Returns:
        For each trial that failed its key and error.
    """
    done = {record["key"] for record in records.read(path)}
    left = [trial for trial in trials if trial.key not in done]
    console = rich.console.Console(stderr=True)
    console.print(f"{len(trials) - len(left)} of {len(trials)} trials are in {path} already.")
    failures = []
    # Not `concurrent.futures`: its pool stands still once a worker has been replaced for its
    # memory (CPython issue 115634). This one replaces workers that have grown.
    pool = joblib.Parallel(jobs, return_as="generator_unordered", pre_dispatch=jobs)
    with rich.progress.Progress(
        *rich.progress.Progress.get_default_columns(),
        rich.progress.MofNCompleteColumn(),
        console=console,
    ) as progress:
        task = progress.add_task("Trials", total=len(left))
        for trial, record, error in pool(joblib.delayed(_run)(trial, jobs) for trial in left):
            if record is None:
                failures.append(f"{trial.key}: {error}")
                console.print(failures[-1], markup=False)
            else:
                records.append(path, record)
            progress.update(task, advance=1, description=trial.key)
    return failures


def _run(trial: Trial, jobs: int) -> tuple[Trial, dict[str, Any] | None, str]:
    """A trial's record, or its error: one broken trial does not cost the others."""
    _share_cores(jobs)
    try:
        return trial, run(trial), ""
    except Exception as error:
        return trial, None, f"{type(error).__name__}: {error}"


@functools.cache
def _share_cores(jobs: int) -> None:
    """Give each worker its part of the cores, before its first operation."""
    if jobs == 1:
        # That one runs in this process, which may have computed something already.
        return
    threads = max(1, (os.cpu_count() or 1) // jobs)
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
