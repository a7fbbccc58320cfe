"""Runs trials in processes of their own and records each as soon as it is done."""

import concurrent.futures
import multiprocessing
import os
from pathlib import Path
from typing import Any

import rich.console
import rich.progress

from benchmarks.learning import records
from benchmarks.learning.trial import Trial

# What TensorFlow keeps of models that are gone adds up.
_TRIALS_OF_A_PROCESS = 25


def run_all(trials: list[Trial], path: Path, jobs: int) -> list[str]:
    """Run the trials that a file does not hold yet.

    Args:
        trials: The trials.
        path: File of records; each is added when its trial is done.
        jobs: Trials at a time, at least 1.

    Returns:
        For each trial that failed its key and error.
    """
    done = {record["key"] for record in records.read([path])} if path.exists() else set()
    left = [trial for trial in trials if trial.key not in done]
    console = rich.console.Console(stderr=True)
    console.print(f"{len(trials) - len(left)} of {len(trials)} trials are in {path} already.")
    failures = []
    context = multiprocessing.get_context("spawn")
    with (
        rich.progress.Progress(
            *rich.progress.Progress.get_default_columns(),
            rich.progress.MofNCompleteColumn(),
            console=console,
        ) as progress,
        concurrent.futures.ProcessPoolExecutor(
            jobs,
            mp_context=context,
            initializer=_share_cores,
            initargs=(jobs,),
            max_tasks_per_child=_TRIALS_OF_A_PROCESS,
        ) as pool,
    ):
        task = progress.add_task("Trials", total=len(left))
        futures = {pool.submit(_run, trial): trial for trial in left}
        for future in concurrent.futures.as_completed(futures):
            key = futures[future].key
            try:
                records.append(path, future.result())
            except Exception as error:  # One broken trial does not cost the others.
                failures.append(f"{key}: {type(error).__name__}: {error}")
                progress.console.print(failures[-1], markup=False)
            progress.update(task, advance=1, description=key)
    return failures


def _share_cores(jobs: int) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    threads = max(1, (os.cpu_count() or 1) // jobs)
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def _run(trial: Trial) -> dict[str, Any]:
    from benchmarks.learning.trial import run

    return run(trial)
