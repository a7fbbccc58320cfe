"""Requests of the SDK's client over HTTP, and what the API refuses."""

import asyncio
import socket

import pytest

from gb_keras.cluster import manifests
from gb_keras.cluster.client import Cluster
from gb_keras.cluster.errors import ClusterError
from gb_keras.cluster.job import TrainingJob
from tests.cluster.api import JOBS, NAMESPACE, PODS, RUNTIMES, SERVICES

JOB = manifests.train_job(TrainingJob("digits", "gb-keras:0.1.0", ("--data", "/d")))
RUNTIME = manifests.training_runtime("gb-keras", "gb-keras:0.1.0")


def test_the_namespace_is_that_of_the_context_or_the_one_named(api):
    assert Cluster().namespace == NAMESPACE
    assert Cluster(namespace="other").namespace == "other"


def test_what_is_created_is_the_manifest(api):
    Cluster().create(JOB)
    (request,) = api.requests("post", JOBS)
    assert request.data == JOB
    assert request.namespace == NAMESPACE
    assert request.headers["Authorization"] == "Bearer t"
    service = manifests.inference_service("digits", "pvc://training/digits")
    Cluster().create(service)
    assert api.requests("post", SERVICES)[0].data == service


def test_a_runtime_is_installed_once_and_then_brought_up_to_date(api):
    cluster = Cluster()
    cluster.install(RUNTIME)
    cluster.install(manifests.training_runtime("gb-keras", "gb-keras:0.2.0"))
    assert len(api.requests("patch", RUNTIMES)) == 1
    spec = api.server.objects[RUNTIMES, NAMESPACE, "gb-keras"]["spec"]
    (nodes,) = spec["template"]["spec"]["replicatedJobs"]
    (container,) = nodes["template"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "gb-keras:0.2.0"


def test_a_runtime_of_somebody_else_is_left_alone(api):
    theirs = {"metadata": {"name": "gb-keras", "labels": {"team": "vision"}}, "spec": {}}
    api.server.objects[RUNTIMES, NAMESPACE, "gb-keras"] = theirs
    with pytest.raises(ClusterError, match="which gb-keras has not made, so it is left alone"):
        Cluster().install(RUNTIME)
    assert not api.requests("patch", RUNTIMES)


@pytest.mark.parametrize(
    ("status", "reason", "said", "message", "passing"),
    [
        (401, "Unauthorized", "Unauthorized", r"\(401 Unauthorized\). Log in", False),
        (
            403,
            "Forbidden",
            'trainjobs.trainer.kubeflow.org is forbidden: User "tester" cannot create',
            r'create the TrainJob digits.*User "tester" cannot create \(403 Forbidden\). '
            "Ask for the right to do so in the namespace research",
            False,
        ),
        (
            404,
            "Not Found",
            "the server could not find the requested resource",
            "It needs Kubeflow Trainer 2.2 or later; ask for it",
            False,
        ),
        (
            409,
            "Conflict",
            'trainjobs "digits" already exists',
            "already exists .* another name, or delete .* with `kubectl delete trainjobs`",
            False,
        ),
        (422, "Invalid", "spec.trainer: Invalid value", r"Invalid value \(422", False),
        (500, "Internal", "etcd is slow", r"etcd is slow \(500 .*Try again", True),
        (503, "Unavailable", "", r"\(503 .*Try again", True),
    ],
)
def test_what_the_api_refuses_is_said_with_what_to_do(api, status, reason, said, message, passing):
    api.refuse("post", JOBS, status, reason, said)
    with pytest.raises(ClusterError, match=message) as error:
        Cluster().create(JOB)
    assert error.value.passing is passing
    assert "\n" not in str(error.value)


def test_the_second_job_of_a_name(api):
    Cluster().create(JOB)
    with pytest.raises(ClusterError, match="another name, or delete that one"):
        Cluster().create(JOB)


def test_delete_and_then_there_is_none(api):
    cluster = Cluster()
    cluster.create(JOB)
    cluster.delete("digits")
    assert api.job("digits").deleted
    for again in (cluster.delete, cluster.train_job):
        with pytest.raises(ClusterError, match=r"TrainJob digits.*kubectl get trainjobs -n resea"):
            again("digits")


def test_a_user_who_may_not_delete(api):
    cluster = Cluster()
    cluster.create(JOB)
    api.refuse("delete", JOBS, 403, "Forbidden", "you cannot delete")
    with pytest.raises(ClusterError, match=r"delete the TrainJob digits.*you cannot delete"):
        cluster.delete("digits")


def test_pods_are_asked_for_by_the_label_of_the_job(api):
    Cluster().pods("digits")
    (request,) = api.requests("get", PODS)
    assert request.params["labelSelector"] == "jobset.sigs.k8s.io/jobset-name=digits"


def test_an_api_that_does_not_answer_in_time(api):
    cluster = Cluster(request_timeout=0.3)
    api.server[JOBS, "post"] << (lambda: asyncio.sleep(2))
    with pytest.raises(ClusterError, match=r"did not answer in time. The request may have been"):
        cluster.create(JOB)


def test_a_cluster_that_is_not_there(api):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
    api._write_kubeconfig(address)
    with pytest.raises(ClusterError, match=r"Could not reach the cluster. It cannot be reached"):
        Cluster()


def test_a_cluster_that_is_silent_from_the_start(api):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        api._write_kubeconfig(f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(ClusterError, match=r"Could not reach the cluster. It did not answer"):
            Cluster(request_timeout=0.3)


@pytest.mark.parametrize("context", [None, "elsewhere"])
def test_no_configuration(context, api, monkeypatch, tmp_path):
    if context is None:
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(ClusterError, match=r"No cluster is configured: .*KUBECONFIG.*--context"):
        Cluster(context=context)
