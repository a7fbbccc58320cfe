"""A training on several nodes as a task of a pipeline: data to the nodes, results back.

The pod of the task and the nodes see the same volume. What the task is given is copied there, and
what the nodes leave there becomes the task's results.
"""

import contextlib
import dataclasses
import hashlib
import itertools
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from gb_keras.cluster import manifests, train_command
from gb_keras.cluster.client import Cluster
from gb_keras.cluster.errors import ClusterError
from gb_keras.cluster.follow import follow, require_success
from gb_keras.cluster.job import TrainingJob
from gb_keras.stages import train_config
from gb_keras.stages.files import new_directory, read_json
from gb_keras.stages.history import best_epoch, last_epoch

# On the volume.
_DATASETS = Path("gb-keras/datasets")
_RUNS = Path("gb-keras/runs")
# Seconds: Kubernetes ends a pod in 30, where nobody asks for more; one on a lost machine never.
_GRACE = 120
# Kubeflow Pipelines tells a task's pod who it is.
_POD_NAME, _POD_UID = "KFP_POD_NAME", "KFP_POD_UID"


def job_name(address: str) -> str:
    """The name of the TrainJob whose results go to an address.

    Kubeflow Pipelines gives all attempts of a task the same addresses for their results, and each
    task others; so an attempt finds the job of the one before.

    Args:
        address: Address of the task's output artifact.

    Returns:
        A name that Kubernetes takes.

    Example:
        >>> job_name("s3://artifacts/run-1/train/model")
        'train-58bbf5177135'
    """
    return f"train-{_digest(address)}"


def train_on_cluster(
    job: TrainingJob,
    options: Mapping[str, Any],
    *,
    data_dir: str | os.PathLike,
    data_address: str,
    output_dir: str | os.PathLike,
    log_dir: str | os.PathLike,
) -> dict[str, Any]:
    """Train as a TrainJob, show what it prints, and fetch what it leaves.

    A job of the name that runs or is complete is followed instead of created again. After one that
    failed another is created, with a number behind its name, which goes on from the last
    checkpoint. Where this process is told to end (SIGTERM) or interrupted, the job is deleted.

    Args:
        job: Where it runs, with a claim that is mounted here, too; its arguments play no part.
        options: Options of `gb_keras.stages.train.train` by name, as `config.json` has them, and
            `checkpoint_steps`.
        data_dir: Folder that `prepare` wrote.
        data_address: What tells these data from others; they are copied to the volume once.
        output_dir: New folder for the run, without its logs.
        log_dir: New folder for its TensorBoard logs.

    Returns:
        `{"job", "best_epoch", "final": {metric: value}}`: the name of the TrainJob, the epoch of
        the best balanced accuracy in validation (counted from 1), and the metrics of the last
        epoch.

    Raises:
        ValueError: An option is out of its range, or the job has no claim.
        FileNotFoundError: The claim is not mounted here.
        ClusterError: The job failed, or the cluster refused or is gone.
    """
    train_config.check({**options, "verbose": 2})
    volume = _volume(job)
    data = volume / _DATASETS / _digest(data_address)
    _copy(Path(data_dir), data)
    run = volume / _RUNS / job.name
    name = job.name
    if not _finished(run):
        folders = {"data": data, "output": run}
        arguments = train_command.arguments({**folders, **options, "verbose": 2, "resume": True})
        name = _run(Cluster(), dataclasses.replace(job, arguments=arguments))
    if not _finished(run):
        raise FileNotFoundError(
            f"Expected the finished run of the job {name} in {run}. Received none: mount the "
            f"claim {job.claim} in this task where the nodes see it, at {job.mount}."
        )
    history = read_json(run / "history.json")
    _copy(run, Path(output_dir), "logs", "checkpoints")
    _copy(run / "logs", Path(log_dir))
    return {"job": name, "best_epoch": best_epoch(history), "final": last_epoch(history)}


def _run(cluster: Cluster, job: TrainingJob) -> str:
    """Create a job, or find that of an earlier attempt; follow it to its end."""
    name = job.name
    for number in itertools.count(2):
        present = cluster.find_train_job(name)
        if present is not None and _may_be_followed(present):
            break
        _wait_for_end_of_nodes(cluster, name)
        if present is None:
            break
        # What has failed stays, for who looks for the reason.
        name = f"{job.name}-{number}"
    with _deleting_on_termination(cluster, name):
        if present is None:
            named = dataclasses.replace(job, name=name)
            cluster.create(manifests.train_job(named, _pod_of_the_task()))
            _say(f"Created TrainJob {name} in the namespace {cluster.namespace}.")
        else:
            _say(f"Following TrainJob {name}, which an earlier attempt has created.")
        require_success(name, follow(cluster, name, show=_say, notice=_say))
    return name


def _may_be_followed(train_job: manifests.Manifest) -> bool:
    conditions = (train_job.get("status") or {}).get("conditions") or []
    failed = any(each["type"] == "Failed" and each["status"] == "True" for each in conditions)
    return not failed and "deletionTimestamp" not in train_job["metadata"]


def _wait_for_end_of_nodes(cluster: Cluster, name: str) -> None:
    """Let nodes of a job that failed or was deleted end: they write into the folder of the run."""
    deadline = time.monotonic() + _GRACE
    while any(pod.status.phase in ("Pending", "Running") for pod in cluster.pods(name)):
        if time.monotonic() > deadline:
            _say(f"Nodes of {name} have not ended in {_GRACE} s. Going on without them.")
            return
        time.sleep(1)


def _pod_of_the_task() -> manifests.Manifest | None:
    """The pod that this is, as the owner of a job: with the pipeline's run the job goes, too."""
    if _POD_NAME not in os.environ or _POD_UID not in os.environ:
        return None
    name, uid = os.environ[_POD_NAME], os.environ[_POD_UID]
    return {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}


@contextlib.contextmanager
def _deleting_on_termination(cluster: Cluster, name: str) -> Iterator[None]:
    """Delete a job where this process is told to end, so that its nodes do not go on unwatched."""

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    # Only the main thread can be told.
    told = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, end) if told else None
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        _say(f"Told to end. Deleting TrainJob {name}.")
        with contextlib.suppress(ClusterError):
            cluster.delete(name)
        raise
    finally:
        if told:
            signal.signal(signal.SIGTERM, before)


def _volume(job: TrainingJob) -> Path:
    if job.claim is None:
        raise ValueError(
            "Expected the name of a claim that this task and all nodes see. Received: claim=None."
        )
    volume = Path(job.mount)
    if not volume.is_dir():
        raise FileNotFoundError(
            f"Expected the claim {job.claim} to be mounted at {job.mount} in this task, as it is "
            "in the nodes. Received: no such folder. In a pipeline: kfp.kubernetes.mount_pvc(task, "
            f"pvc_name={job.claim!r}, mount_path={job.mount!r})."
        )
    return volume


def _finished(run: Path) -> bool:
    # The last file that a training writes.
    return (run / "model.keras").exists()


def _copy(source: Path, target: Path, *without: str) -> None:
    """Copy a folder, whole or not at all; one that is there already stays."""
    if target.is_dir() and any(target.iterdir()):
        return
    try:
        with new_directory(target) as folder:
            shutil.copytree(
                source, folder, ignore=shutil.ignore_patterns(*without), dirs_exist_ok=True
            )
    except OSError:
        # Another task may have been faster with the same data.
        if not (target.is_dir() and any(target.iterdir())):
            raise


def _digest(address: str) -> str:
    return hashlib.sha256(address.encode()).hexdigest()[:12]


def _say(text: str) -> None:
    print(text, flush=True)
