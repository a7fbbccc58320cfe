"""A job from its start to its end, as the API tells of it."""

import asyncio
import threading
import time

import pytest

from gb_keras.cluster import manifests
from gb_keras.cluster.client import Cluster
from gb_keras.cluster.errors import ClusterError
from gb_keras.cluster.follow import follow
from gb_keras.cluster.job import TrainingJob
from tests.cluster.api import JOBS, NAMESPACE, PODS, terminated, waiting

SUCCEEDED = {"phase": "Succeeded", **terminated("Completed", 0)}


@pytest.fixture
def cluster(api):
    cluster = Cluster()
    cluster.create(manifests.train_job(TrainingJob("digits", "gb-keras:0.1.0", ())))
    return cluster


class Watch:
    """What a user sees of a job; and what happens in the cluster at some line of that."""

    def __init__(self, cluster, **events):
        self.cluster, self.events = cluster, events
        self.lines, self.notices = [], []

    def follow(self, **options):
        return follow(
            self.cluster, "digits", show=self.show, notice=self.notice, poll=0.05, **options
        )

    def show(self, line):
        self.lines.append(line)
        self.events.pop(line, lambda: None)()

    def notice(self, text):
        self.notices.append(text)
        for event in [each for each in self.events if each in text]:
            self.events.pop(event)()


def test_a_job_that_waits_runs_and_completes(api, cluster):
    def start():
        api.log("digits-a", "Epoch 1", lambda: asyncio.sleep(0.1), "Epoch 2")
        api.pod("digits-a", phase="Running")

    def end():
        api.pod("digits-a", **SUCCEEDED)
        api.condition("digits", "Complete", "JobsCompleted", "all done")

    watch = Watch(cluster, **{"Created": start, "Epoch 2": end})
    state = watch.follow()
    assert (state.phase, state.reason) == ("Complete", "JobsCompleted: all done")
    assert watch.lines == ["Epoch 1", "Epoch 2"]
    assert watch.notices == ["digits: Created", "digits: Running", "digits: Complete"]


def test_lines_come_while_the_job_runs(api, cluster):
    api.pod("digits-a", phase="Running")
    go_on = threading.Event()

    async def wait():
        assert await asyncio.to_thread(go_on.wait, 10)

    api.log("digits-a", "Epoch 1", wait, "Epoch 2")

    def end():
        api.pod("digits-a", **SUCCEEDED)
        api.condition("digits", "Complete")

    # The second line is printed only after the first has been seen.
    watch = Watch(cluster, **{"Epoch 1": go_on.set, "Epoch 2": end})
    assert watch.follow().phase == "Complete"
    assert watch.lines == ["Epoch 1", "Epoch 2"]


def test_a_job_that_fails_says_why(api, cluster):
    api.log("digits-a", "loss: nan")
    api.pod("digits-a", 0, "Failed", **terminated("Error", 1))
    api.pod("digits-b", 1, "Failed", **terminated("OOMKilled", 137))
    api.condition("digits", "Failed", "JobsFailed", "jobset failed due to one or more failed jobs")
    watch = Watch(cluster)
    state = watch.follow()
    assert state.phase == "Failed"
    assert state.reason == "JobsFailed: jobset failed due to one or more failed jobs"
    assert state.problems == ("node 0: Error (exit code 1)", "node 1: OOMKilled (exit code 137)")
    assert watch.lines == ["loss: nan"]


def test_nodes_that_are_started_again_are_followed_on(api, cluster):
    def restart():
        api.pod("digits-a", 0, "Failed", **terminated("Error", 1))
        api.log("digits-b", "Epoch 2 of the second attempt")
        api.pod("digits-b", 0, "Running", created="2026-01-01T00:01:00Z")

    def end():
        api.pod("digits-b", created="2026-01-01T00:01:00Z", **SUCCEEDED)
        api.condition("digits", "Complete")

    api.log("digits-a", "Epoch 1 of the first attempt")
    api.pod("digits-a", 0, "Running")
    watch = Watch(
        cluster,
        **{"Epoch 1 of the first attempt": restart, "Epoch 2 of the second attempt": end},
    )
    state = watch.follow()
    assert (state.phase, state.problems) == ("Complete", ())
    assert watch.lines == ["Epoch 1 of the first attempt", "Epoch 2 of the second attempt"]


def test_what_keeps_a_node_from_starting_is_said_once(api, cluster):
    api.pod("digits-a", 0, "Pending", **waiting("ImagePullBackOff", "no such image"))
    scheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    api.pod("digits-b", 1, "Pending", conditions=[{**scheduled, "message": "no GPU"}])
    api.pod("digits-c", 2, "Pending", **waiting("ContainerCreating", None))
    watch = Watch(cluster)
    with pytest.raises(TimeoutError, match=r"digits has not ended in 0\.4 s, and goes on.*no GPU"):
        watch.follow(timeout=0.4)
    assert watch.notices == [
        "digits: Created; node 0: ImagePullBackOff: no such image; node 1: Unschedulable: no GPU"
    ]


def test_time_is_up_although_the_log_goes_on(api, cluster):
    api.pod("digits-a", 0, "Running")
    api.log("digits-a", "Epoch 1", lambda: asyncio.sleep(20), "Epoch 2")
    watch = Watch(cluster)
    start = time.monotonic()
    with pytest.raises(TimeoutError, match="gb-keras submit delete digits"):
        watch.follow(timeout=0.5)
    assert time.monotonic() - start < 5
    assert watch.lines == ["Epoch 1"]


def test_a_log_that_breaks_off_is_taken_up_without_repeating_a_line(api, cluster):
    path = f"get /api/v1/namespaces/{NAMESPACE}/pods/digits-a/log"
    api.pod("digits-a", 0, "Running")
    # The same log, longer each time that it is asked for, as when the connection is cut.
    whole = [b"Epoch 1\n", b"Epoch 2\n", b"Epoch 3\n"]
    lengths = iter([1, 2, 3])
    api.server[path] << (lambda: b"".join(whole[: next(lengths, 3)]))

    def end():
        api.pod("digits-a", **SUCCEEDED)
        api.condition("digits", "Complete")

    watch = Watch(cluster, **{"Epoch 3": end})
    watch.follow()
    assert watch.lines == ["Epoch 1", "Epoch 2", "Epoch 3"]


def test_a_user_who_may_not_read_logs_is_told_and_still_waits(api, cluster):
    api.pod("digits-a", 0, "Running")
    api.refuse_log("digits-a", "pods/log is forbidden")
    watch = Watch(cluster, **{"pods/log": lambda: api.condition("digits", "Complete")})
    assert watch.follow().phase == "Complete"
    assert watch.lines == []
    assert sum("read the log of digits-a" in notice for notice in watch.notices) == 1


def test_errors_that_pass_are_tried_again(api, cluster):
    api.refuse("get", JOBS, 500, "Internal", "etcd is slow", times=2)
    api.refuse("get", PODS, 503, "Unavailable", "starting", times=1)
    api.condition("digits", "Complete")
    watch = Watch(cluster)
    assert watch.follow().phase == "Complete"
    assert sum("etcd is slow" in notice for notice in watch.notices) == 2
    assert sum("starting" in notice for notice in watch.notices) == 1


def test_errors_that_do_not_pass(api, cluster):
    api.refuse("get", JOBS, 500, "Internal", "etcd is gone", times=100)
    with pytest.raises(ClusterError, match="etcd is gone"):
        Watch(cluster).follow()
    assert len(api.requests("get", JOBS)) == 5


def test_errors_that_another_try_cannot_mend(api, cluster):
    api.refuse("get", PODS, 403, "Forbidden", "you cannot list pods")
    with pytest.raises(ClusterError, match="you cannot list pods"):
        Watch(cluster).follow()
    assert len(api.requests("get", PODS)) == 1


def test_a_job_that_is_suspended_is_waited_for(api, cluster):
    api.condition("digits", "Suspended", "Suspended", "by the queue")
    watch = Watch(cluster, **{"Suspended": lambda: api.condition("digits", "Complete")})
    assert watch.follow().phase == "Complete"
