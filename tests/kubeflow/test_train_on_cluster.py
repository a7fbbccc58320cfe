"""The component that trains on several nodes: its function, a Kubernetes API over HTTP, and folders
that stand for the volume which task and nodes share.
"""

import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import typer
import yaml
from kfp import dsl
from typer.testing import CliRunner

from components.training.train_model import train_model
from components.training.train_on_cluster import train_on_cluster
from gb_keras import cli
from gb_keras.cluster import manifests, train_command
from gb_keras.cluster.client import Cluster
from gb_keras.cluster.errors import ClusterError
from gb_keras.cluster.train_on_cluster import job_name
from gb_keras.stages import train_config
from gb_keras.stages.prepare import prepare
from tests.cluster.api import JOBS, NAMESPACE, PODS, terminated

ROOT = Path(__file__).parents[2]
SUCCEEDED = {"phase": "Succeeded", **terminated("Completed", 0)}
FAILED = {"phase": "Failed", **terminated("OOMKilled", 137)}
HISTORY = {"loss": [2.0, 1.0], "val_balanced_accuracy": [0.9, 0.5]}


@pytest.fixture
def claim(tmp_path):
    """The folder at which task and nodes see the volume."""
    folder = tmp_path / "claim"
    folder.mkdir()
    return folder


@pytest.fixture
def task(tmp_path, claim):
    """Runs an attempt of a task: same addresses each time, in a pod with folders of its own."""
    dataset = tmp_path / "dataset"
    dataset.mkdir()
    (dataset / "manifest.json").write_text("{}")
    attempts = iter(range(9))

    def attempt(dataset=dataset, address="s3://artifacts/run-1/train", **options):
        pod = tmp_path / f"pod-{next(attempts)}"
        pod.mkdir()
        outputs = {
            "model": dsl.Model(name="model", uri=f"{address}/model"),
            "metrics": dsl.Metrics(name="metrics", uri=f"{address}/metrics"),
            "logs": dsl.Artifact(name="logs", uri=f"{address}/logs"),
        }
        for name, artifact in outputs.items():
            artifact.custom_path = str(pod / name)
        data = dsl.Dataset(name="dataset", uri="s3://artifacts/run-1/prepare/dataset")
        data.custom_path = str(dataset)
        options = {"claim": "training", "mount": str(claim), **options}
        train_on_cluster.python_func(dataset=data, **outputs, **options)
        return outputs

    return attempt


class Nodes:
    """What becomes of each TrainJob that is created, one after the other."""

    def __init__(self, api, *outcomes):
        self.api, self.outcomes = api, list(outcomes)
        api.server[JOBS, "post"] << self.created

    def created(self, request):
        self.outcomes.pop(0)(request.data)
        return request.data

    def complete(self, job):
        """The nodes run at once, and leave what a training leaves."""
        name = job["metadata"]["name"]
        run = Path(option(job, "--output"))
        (run / "logs" / "train").mkdir(parents=True, exist_ok=True)
        (run / "logs" / "train" / "events").write_text("events")
        (run / "history.json").write_text(json.dumps(HISTORY))
        (run / "config.json").write_text(json.dumps({"job": name}))
        (run / "model.keras").write_text("model")
        self.api.log(f"{name}-0", "Epoch 2/2")
        self.api.pod(f"{name}-0", **SUCCEEDED)
        self.api.condition(name, "Complete")

    def fail(self, job):
        name = job["metadata"]["name"]
        self.api.pod(f"{name}-0", **FAILED)
        self.api.condition(name, "Failed", "JobsFailed", "no more restarts")

    def run_on(self, job):
        """They run on, while the task may not look at them any more."""
        # The second request for pods; the first was made before there was a job.
        self.api.refuse("get", PODS, 403, "Forbidden", "you cannot list pods", times=2)


def option(job, flag):
    arguments = job["spec"]["trainer"]["args"]
    return arguments[arguments.index(flag) + 1]


def files(folder):
    return {str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file()}


def test_what_the_nodes_leave_becomes_the_results_of_the_task(
    api, task, claim, capsys, monkeypatch
):
    monkeypatch.setenv("KFP_POD_NAME", "task-pod")
    monkeypatch.setenv("KFP_POD_UID", "1-2-3")
    nodes = Nodes(api)
    nodes.outcomes = [nodes.complete]
    secret = {"name": "hub", "key": "token", "env": "HF_TOKEN"}
    outputs = task(
        nodes=3, cpu="4", memory="16Gi", gpu=2, shared_memory="8Gi", image="gb-keras:9",
        node_selector={"gpu": "h100"}, secrets=[secret], loss="focal", augmentation=["flip"],
    )  # fmt: skip
    (request,) = api.requests("post", JOBS)
    assert request.namespace == NAMESPACE
    name = request.data["metadata"]["name"]
    # With the pod of the task, which goes with the run of the pipeline, the job goes.
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "task-pod", "uid": "1-2-3"}
    assert request.data["metadata"]["ownerReferences"] == [owner]
    trainer = request.data["spec"]["trainer"]
    assert (trainer["numNodes"], trainer["image"]) == (3, "gb-keras:9")
    limits = {"cpu": "4", "memory": "16Gi", "nvidia.com/gpu": "2"}
    assert trainer["resourcesPerNode"] == {"requests": limits, "limits": limits}
    assert trainer["env"][-1]["valueFrom"] == {"secretKeyRef": {"name": "hub", "key": "token"}}
    (patch,) = request.data["spec"]["runtimePatches"]
    assert '"nodeSelector": {"gpu": "h100"}' in json.dumps(patch)
    assert '"sizeLimit": "8Gi"' in json.dumps(patch)
    assert (option(request.data, "--loss"), trainer["args"][-1]) == ("focal", "--resume")
    assert files(option(request.data, "--data")) == {"manifest.json"}
    assert Path(option(request.data, "--output")).parent == claim / "gb-keras/runs"

    printed = capsys.readouterr().out.splitlines()
    assert f"Created TrainJob {name} in the namespace {NAMESPACE}." in printed
    assert "Epoch 2/2" in printed
    assert files(outputs["model"].path) == {"model.keras", "config.json", "history.json"}
    assert files(outputs["logs"].path) == {"train/events"}
    last = {"loss": 1.0, "val_balanced_accuracy": 0.5}
    assert outputs["metrics"].metadata == last
    assert json.loads(Path(outputs["metrics"].path).read_text()) == last
    metadata = outputs["model"].metadata
    assert (outputs["model"].framework, metadata["loss"]) == ("keras", "focal")
    # A cluster's store of metadata takes no null.
    assert None not in metadata.values()
    assert (metadata["nodes"], metadata["best_epoch"], metadata["train_job"]) == (3, 1, name)


def test_after_a_job_that_failed_another_goes_on_and_a_finished_run_is_taken(
    api, task, claim, monkeypatch
):
    nodes = Nodes(api)
    nodes.outcomes = [nodes.fail, nodes.complete]
    with pytest.raises(ClusterError, match=r"train-\w+ failed: JobsFailed: no more .*OOMKilled"):
        task()
    results = task()
    first, second = (request.data for request in api.requests("post", JOBS))
    name = first["metadata"]["name"]
    assert second["metadata"]["name"] == f"{name}-2"
    # Outside of a pipeline it is nobody's.
    assert "ownerReferences" not in first["metadata"]
    # With the same folders and --resume it goes on; and what failed is there to be looked at.
    assert second["spec"]["trainer"]["args"] == first["spec"]["trainer"]["args"]
    assert not api.job(name).deleted
    assert results["model"].metadata["train_job"] == f"{name}-2"

    # What was finished on the volume needs no cluster, and a data set is copied once.
    (data,) = (claim / "gb-keras/datasets").iterdir()
    (data / "manifest.json").write_text("copied before")
    monkeypatch.setenv("KUBECONFIG", str(claim / "none"))
    again = task()
    assert files(again["model"].path) == files(results["model"].path)
    assert (data / "manifest.json").read_text() == "copied before"


def test_an_attempt_follows_the_job_of_the_one_before(api, task, capsys):
    nodes = Nodes(api)
    nodes.outcomes = [nodes.run_on, nodes.complete]
    with pytest.raises(ClusterError, match="you cannot list pods"):
        task()
    (request,) = api.requests("post", JOBS)
    name = request.data["metadata"]["name"]
    assert not api.job(name).deleted
    threading.Timer(0.3, nodes.complete, [request.data]).start()
    assert task()["model"].metadata["train_job"] == name
    assert len(api.requests("post", JOBS)) == 1
    assert f"Following TrainJob {name}, which an earlier" in capsys.readouterr().out
    # Another task has another job, but for the same data.
    other = task(address="s3://artifacts/run-1/other")
    assert other["model"].metadata["train_job"] != name
    data = {option(each.data, "--data") for each in api.requests("post", JOBS)}
    assert len(data) == 1


def test_a_task_that_is_told_to_end_deletes_its_job(api, task):
    def tell(job):
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()

    before = signal.getsignal(signal.SIGTERM)
    Nodes(api, tell)
    with pytest.raises(SystemExit) as end:
        task()
    assert end.value.code == 143
    assert signal.getsignal(signal.SIGTERM) == before
    (request,) = api.requests("post", JOBS)
    assert api.job(request.data["metadata"]["name"]).deleted


def test_a_job_is_created_once_the_nodes_of_a_deleted_one_have_ended(api, task):
    nodes = Nodes(api)
    nodes.outcomes = [nodes.complete]
    # By the name that the task will have: its first attempt was told to end.
    pod = f"{job_name('s3://artifacts/run-1/train/model')}-0"
    api.pod(pod, phase="Running")
    ended = []

    def end():
        ended.append(len(api.requests("post", JOBS)))
        api.pod(pod, **FAILED)

    threading.Timer(0.5, end).start()
    task()
    assert ended == [0]
    assert len(api.requests("post", JOBS)) == 1


def test_the_rights_that_are_printed_are_those_that_a_task_uses(api, task):
    nodes = Nodes(api)
    nodes.outcomes = [nodes.complete]
    task()
    name = api.requests("post", JOBS)[0].data["metadata"]["name"]
    Cluster().delete(name)
    words = ("submit", "setup", "--image", "i", "--namespace", NAMESPACE)
    result = CliRunner().invoke(cli.app, [*words, "--service-account", "runner"])
    runtime, role, binding = yaml.safe_load_all(result.stdout)
    assert runtime["metadata"].pop("namespace") == NAMESPACE
    assert runtime == manifests.training_runtime("gb-keras", "i")
    allowed = {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    used = {right(request) for request in api.server if request.method} - {None}
    assert used == allowed
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    (subject,) = binding["subjects"]
    assert (subject["name"], subject["namespace"]) == ("runner", NAMESPACE)
    assert role["metadata"]["namespace"] == binding["metadata"]["namespace"] == NAMESPACE


def right(request):
    """What a Role must allow for a request."""
    parts = request.url.path.strip("/").split("/")
    if parts == ["version"]:
        return None  # Everybody may.
    group = "" if parts[0] == "api" else parts[1]
    resource, *name = parts[parts.index("namespaces") + 2 :]
    if resource == "configmaps":
        return None  # The SDK asks for the version of the Trainer, and goes on without.
    verb = request.method.lower()
    if verb == "get" and not name:
        verb = "list"
    if verb == "post":
        verb = "create"
    return group, "/".join([resource, *name[1:]]), verb


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "focall"}, "Did you mean 'focal'"),
        ({"mount": "/nowhere"}, "claim training to be mounted at /nowhere in this task"),
        ({"claim": "My_Claim"}, "Expected claim"),
        ({"nodes": 0}, "nodes=0"),
        ({"memory": "16GB"}, "memory='16GB'"),
        ({"shared_memory": "big"}, "shared_memory='big'"),
        ({"secrets": [{"name": "hub"}]}, "each secret to have name, key and env"),
    ],
)
def test_what_is_wrong_is_said_before_there_is_a_job(api, task, options, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        task(**options)
    assert not api.requests("post", JOBS)


def test_nodes_that_do_not_share_the_volume_are_seen(api, task, claim):
    nodes = Nodes(api)

    def elsewhere(job):
        nodes.complete(job)
        shutil.rmtree(option(job, "--output"))

    nodes.outcomes = [elsewhere]
    with pytest.raises(FileNotFoundError, match="mount the claim training in this task where"):
        task()


def test_the_command_of_the_nodes_trains_for_the_task(api, task, tmp_path):
    # What kubelet does: the command of the manifest, as a process with its variables.
    def run(job):
        name, trainer = job["metadata"]["name"], job["spec"]["trainer"]
        program, *arguments = [*trainer["command"], *trainer["args"]]
        assert program == "gb-keras"
        node = subprocess.run(
            [sys.executable, "-m", "gb_keras", *arguments],
            env={
                **{"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
                **{each["name"]: each["value"] for each in trainer["env"]},
                "JOB_COMPLETION_INDEX": "0",
            },
            capture_output=True,
            text=True,
        )
        api.log(f"{name}-0", *node.stdout.splitlines())
        api.pod(f"{name}-0", **(FAILED if node.returncode else SUCCEEDED))
        api.condition(name, "Failed" if node.returncode else "Complete", message=node.stderr)

    prepare("digits", tmp_path / "digits")
    Nodes(api, lambda job: threading.Thread(target=run, args=(job,)).start())
    outputs = task(dataset=tmp_path / "digits", nodes=1, epochs=1, batch_size=128)
    assert {"model.keras", "config.json", "history.json", "gradient_density.json"} <= files(
        outputs["model"].path
    )
    config = json.loads((Path(outputs["model"].path) / "config.json").read_text())
    assert (config["epochs"], config["batch_size"], config["data"]) == (1, 128, "digits")
    assert any("events.out.tfevents" in name for name in files(outputs["logs"].path))
    assert 0 < outputs["metrics"].metadata["val_balanced_accuracy"] <= 1


def test_options_are_those_of_train_model():
    def of(component):
        return dict(inspect.signature(component.python_func).parameters)

    theirs, ours = of(train_model), of(train_on_cluster)
    # What the nodes' own command decides, or the task prints.
    assert set(theirs) - set(ours) == {"strategy", "verbose"}
    for name in set(theirs) & set(ours):
        assert ours[name].annotation == theirs[name].annotation
        assert ours[name].default == theirs[name].default
    assert ours["image"].default == train_on_cluster.component_spec.implementation.container.image


def test_options_come_to_the_command_as_they_are():
    options = {
        "data": "/d", "output": "/o", "backbone": "vgg16", "weights": "imagenet",
        "freeze_epochs": 1, "loss": "focal", "epochs": 3, "batch_size": 8, "optimizer": "sgd",
        "learning_rate": 1e-05, "schedule": "step", "image_size": 64,
        "augmentation": ["flip", "mixup"], "dtype_policy": "mixed_float16", "jit_compile": True,
        "seed": 7, "checkpoint_steps": 100, "resume": True,
    }  # fmt: skip
    command = typer.main.get_command(cli.app).commands["train"]
    for given in (options, {**options, "weights": None, "augmentation": [], "jit_compile": False}):
        parsed = command.make_context("train", list(train_command.arguments(given))).params
        read = train_config.as_written({name: parsed[name] for name in given})
        expected = train_config.as_written(given)
        assert {**read, "data": str(read["data"]), "output": str(read["output"])} == expected


@pytest.mark.parametrize(
    ("status", "reason", "message"),
    [
        (403, "Forbidden", r"you cannot .* \(403 Forbidden\). Ask for the right to do so"),
        (409, "Conflict", r"\(409 Conflict\). Choose another name"),
        (422, "Invalid", r"Could not create the TrainJob train-\w+. The cluster says: you cannot"),
        (500, "Internal", r"\(500 .*Try again"),
    ],
)
def test_a_cluster_that_refuses_the_job_ends_the_attempt(api, task, status, reason, message):
    api.refuse("post", JOBS, status, reason, "you cannot create trainjobs")
    with pytest.raises(ClusterError, match=message):
        task()
    assert len(api.requests("post", JOBS)) == 1


def test_a_job_that_is_being_deleted_is_not_followed(api, task):
    nodes = Nodes(api)
    nodes.outcomes = [nodes.run_on, nodes.complete]
    with pytest.raises(ClusterError):
        task()
    name = api.requests("post", JOBS)[0].data["metadata"]["name"]
    api.job(name).patch({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})
    assert task()["model"].metadata["train_job"] == f"{name}-2"


def test_a_data_set_that_another_task_copies_meanwhile_is_taken(api, task, claim):
    copytree = shutil.copytree

    def slower(source, target, **options):
        # The other task's copy is there first.
        digest = Path(target).name.split(".")[1]
        (Path(target).parent / digest).mkdir()
        (Path(target).parent / digest / "manifest.json").write_text("theirs")
        faster.undo()
        return copytree(source, target, **options)

    nodes = Nodes(api)
    nodes.outcomes = [nodes.complete]
    with pytest.MonkeyPatch.context() as faster:
        faster.setattr(shutil, "copytree", slower)
        task()
    (data,) = (claim / "gb-keras/datasets").iterdir()
    assert (data / "manifest.json").read_text() == "theirs"
