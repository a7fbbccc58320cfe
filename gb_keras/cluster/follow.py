"""A TrainJob from its start to its end: how it stands, what it prints, why it failed."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

from gb_keras.cluster.client import Cluster
from gb_keras.cluster.errors import ClusterError
from gb_keras.cluster.manifests import NODE, Manifest

_INDEX_LABEL = "batch.kubernetes.io/job-completion-index"
# Phases of a pod in which it has a log.
_HAS_LOG = ("Running", "Succeeded", "Failed")
# Each start of a container passes through these.
_STARTING = ("ContainerCreating", "PodInitializing")
# Failed requests in a row until the cluster is taken to be gone.
_MAX_FAILURES = 5

Show = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class JobState:
    """How a TrainJob stands.

    Attributes:
        phase: `"Created"`, `"Running"`, `"Suspended"`, `"Complete"` or `"Failed"`.
        reason: Why, in the cluster's words; empty where it says nothing.
        problems: What keeps nodes from running, or ended them, a line for each node.
        first_pod: Pod of node 0 that has a log, the newest; None where there is none.
        first_pod_ended: Whether its log is all there.
    """

    phase: str
    reason: str = ""
    problems: tuple[str, ...] = ()
    first_pod: str | None = None
    first_pod_ended: bool = False

    @property
    def ended(self) -> bool:
        """Whether the job has come to its end."""
        return self.phase in ("Complete", "Failed")


def job_state(train_job: Manifest, pods: Sequence[Any]) -> JobState:
    """How a TrainJob stands, of what the cluster says of it and of its pods.

    Args:
        train_job: The TrainJob with its status.
        pods: Its pods, `kubernetes.client.V1Pod`.

    Returns:
        The state.

    Example:
        >>> condition = {"type": "Failed", "status": "True", "reason": "JobsFailed", "message": "x"}
        >>> job_state({"status": {"conditions": [condition]}}, []).reason
        'JobsFailed: x'
    """
    conditions = {
        condition["type"]: condition
        for condition in (train_job.get("status") or {}).get("conditions") or []
        if condition["status"] == "True"
    }
    newest: dict[int, Any] = {}
    for pod in sorted(pods, key=_created):
        newest[_index(pod)] = pod
    phase = next((name for name in ("Failed", "Complete", "Suspended") if name in conditions), None)
    if phase is None:
        running = any(pod.status.phase == "Running" for pod in newest.values())
        phase = "Running" if running else "Created"
    condition = conditions.get(phase, {})
    words = (condition.get("reason"), condition.get("message"))
    problems = ((index, _problem(pod)) for index, pod in sorted(newest.items()))
    first = newest.get(0)
    first_phase = None if first is None else first.status.phase
    return JobState(
        phase,
        ": ".join(word for word in words if word),
        tuple(f"node {index}: {problem}" for index, problem in problems if problem),
        first.metadata.name if first is not None and first_phase in _HAS_LOG else None,
        first_phase in ("Succeeded", "Failed"),
    )


def follow(
    cluster: Cluster,
    name: str,
    *,
    show: Show,
    notice: Show,
    timeout: float | None = None,
    poll: float = 2.0,
) -> JobState:
    """Wait for the end of a TrainJob, and show meanwhile what node 0 prints.

    If the nodes are started again, what the new node 0 prints is shown, too. Failing requests are
    made again, a few times.

    Args:
        cluster: Where the job runs.
        name: Name of the job.
        show: Takes each line of the log.
        notice: Takes a line for each change of the job's state.
        timeout: Seconds to wait at most; None waits to the end.
        poll: Seconds between two looks at the job.

    Returns:
        Its state in the end.

    Raises:
        ClusterError: The cluster refused or is gone.
        TimeoutError: The job has not ended in time; it goes on.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    log = _Log(cluster, show, notice, deadline)
    said = None
    failures = 0
    while True:
        try:
            state = job_state(cluster.train_job(name), cluster.pods(name))
            failures = 0
        except ClusterError as error:
            failures += 1
            if not error.passing or failures == _MAX_FAILURES:
                raise
            notice(str(error))
        else:
            words = "; ".join((state.phase, *state.problems))
            if words != said:
                notice(f"{name}: {words}")
                said = words
            if state.first_pod is not None:
                log.go_on(state.first_pod, state.first_pod_ended)
            if state.ended:
                return state
        if deadline is not None and time.monotonic() >= deadline:
            raise TimeoutError(
                f"The job {name} has not ended in {timeout:g} s, and goes on. It is: {said}. "
                + how_to_go_on(cluster, name)
            )
        time.sleep(poll)


def require_success(name: str, state: JobState) -> None:
    """Raise where a job has failed.

    Args:
        name: Name of the job.
        state: Its state in the end.

    Raises:
        ClusterError: It has failed; the message says why, in the cluster's words.

    Example:
        >>> problem = "node 0: OOMKilled (exit code 137)"
        >>> require_success("lt", JobState("Failed", problems=(problem,)))
        Traceback (most recent call last):
        ...
        gb_keras.cluster.errors.ClusterError: The job lt failed: the cluster does not say why; node
        0: OOMKilled (exit code 137).
    """
    if state.phase == "Failed":
        why = "; ".join((state.reason or "the cluster does not say why", *state.problems))
        raise ClusterError(f"The job {name} failed: {why}.")


def how_to_go_on(cluster: Cluster, name: str) -> str:
    """What a user can do with a job that is no longer followed.

    Args:
        cluster: Where the job runs.
        name: Name of the job.

    Returns:
        A sentence with the commands.
    """
    where = f"{name} --namespace {cluster.namespace}"
    return (
        f"See more of it: gb-keras submit follow {where}. Stop it: gb-keras submit delete {where}"
    )


class _Log:
    """Shows logs that may break off, each line once."""

    def __init__(self, cluster: Cluster, show: Show, notice: Show, deadline: float | None) -> None:
        self._cluster, self._show, self._notice = cluster, show, notice
        self._deadline = deadline
        self._num_shown: dict[str, int] = {}
        self._done: set[str] = set()

    def go_on(self, pod: str, ended: bool) -> None:
        """Show what is new in the log of a pod, until it breaks off or time is up."""
        if pod in self._done:
            return
        if ended:
            self._done.add(pod)
        left = None if self._deadline is None else self._deadline - time.monotonic()
        try:
            # A broken connection cannot be resumed at a line: those shown are passed over.
            lines = self._cluster.log(pod, None if left is None else max(0.1, left))
            for number, line in enumerate(lines):
                if number >= self._num_shown.get(pod, 0):
                    self._show(line)
                    self._num_shown[pod] = number + 1
                if self._deadline is not None and time.monotonic() >= self._deadline:
                    return
        except ClusterError as error:
            # The job goes on without its log, and so do we.
            if not error.passing:
                self._done.add(pod)
            self._notice(str(error))


def _created(pod: Any) -> str:
    created = pod.metadata.creation_timestamp
    return created.isoformat() if created else ""


def _index(pod: Any) -> int:
    return int((pod.metadata.labels or {}).get(_INDEX_LABEL, 0))


def _problem(pod: Any) -> str:
    """What keeps a pod from running, or has ended it, in the cluster's words."""
    for container in pod.status.container_statuses or []:
        if container.name != NODE or container.state is None:
            continue
        waiting, ended = container.state.waiting, container.state.terminated
        if waiting and waiting.reason not in _STARTING:
            return ": ".join(word for word in (waiting.reason, waiting.message) if word)
        if ended and ended.exit_code:
            return f"{ended.reason or 'Error'} (exit code {ended.exit_code})"
    for condition in pod.status.conditions or []:
        if condition.type == "PodScheduled" and condition.status == "False":
            return ": ".join(word for word in (condition.reason, condition.message) if word)
    return ""
