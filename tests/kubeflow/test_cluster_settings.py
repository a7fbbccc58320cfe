"""What the pipeline's tasks get of a cluster, read as the messages that a cluster reads."""

import pytest
from google.protobuf import json_format
from typer.testing import CliRunner

from pipelines.train_and_evaluate import __main__ as cli
from tests.kubeflow import ir

runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})


def invoke(*arguments):
    return runner.invoke(cli.app, [str(argument) for argument in arguments])


CLUSTER = (
    "--claim", "training", "--mount", "/data", "--cpu", "4", "--memory", "16Gi",
    "--accelerator", "nvidia.com/gpu", "--accelerator-count", 2, "--shared-memory", "8Gi",
    "--node-selector", "example.com/gpu=h100", "--node-selector", "zone=a",
    "--toleration", "nvidia.com/gpu:NoSchedule", "--toleration", "team=vision:NoExecute",
    "--secret", "hub=HF_TOKEN:token", "--secret", "cloud=/etc/cloud",
    "--image-pull-secret", "registry", "--pipeline-root", "s3://artifacts/runs",
)  # fmt: skip
SELECTOR = {"example.com/gpu": "h100", "zone": "a"}
TOLERATIONS = [
    {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
    {"key": "team", "operator": "Equal", "value": "vision", "effect": "NoExecute"},
]


def compiled_for_a_cluster(tmp_path, *options):
    path = tmp_path / "pipeline.yaml"
    result = invoke("--compile", path, *CLUSTER, *options)
    assert result.exit_code == 0, result.output
    return ir.load_with_platform(path)


def as_dict(message):
    """What is set of a protocol buffer, but for names that it has a second time, as parameters."""
    return {
        name: value
        for name, value in json_format.MessageToDict(message).items()
        if not name.endswith("NameParameter")
    }


READS = {
    "pvc_mount": [{"constant": "training", "mountPath": "/data"}],
    "secret_as_env": [
        {
            "secretName": "hub",
            "keyToEnv": [{"secretKey": "token", "envVar": "HF_TOKEN"}],
            "optional": False,
        }
    ],
    "secret_as_volume": [{"secretName": "cloud", "mountPath": "/etc/cloud", "optional": False}],
}
PULLS = {"image_pull_secret": [{"secretName": "registry"}]}
TRAINS = {
    "node_selector": {"labels": SELECTOR},
    "tolerations": TOLERATIONS,
    "empty_dir_mounts": [
        {
            "volumeName": "shared-memory",
            "mountPath": "/dev/shm",
            "medium": "Memory",
            "sizeLimit": "8Gi",
        }
    ],
}


def given(config):
    """What an executor gets of Kubernetes, by the field of KFP's message."""
    return {
        field.name: [as_dict(each) for each in value] if field.is_repeated else as_dict(value)
        for field, value in config.ListFields()
    }


def test_what_tasks_get_of_a_cluster(tmp_path):
    spec, tasks = compiled_for_a_cluster(tmp_path)
    assert spec.default_pipeline_root == "s3://artifacts/runs"
    assert {name: given(each) for name, each in tasks.items()} == {
        "exec-prepare-data": {**PULLS, **READS},
        "exec-train-model": {**PULLS, **READS, **TRAINS},
        "exec-evaluate-model": PULLS,
        "exec-compare-models": PULLS,
    }
    # The newer fields, of which parameters may be the names, say the same.
    (mount,) = tasks["exec-prepare-data"].pvc_mount
    assert mount.pvc_name_parameter.runtime_value.constant.string_value == "training"
    resources = ir.executors(spec)["exec-train-model"].resources
    assert (resources.resource_cpu_limit, resources.resource_memory_limit) == ("4", "16Gi")
    assert (resources.accelerator.resource_type, resources.accelerator.resource_count) == (
        "nvidia.com/gpu",
        "2",
    )
    for name in ("exec-prepare-data", "exec-evaluate-model", "exec-compare-models"):
        assert not ir.executors(spec)[name].HasField("resources")


def test_on_several_nodes_these_get_what_one_training_gets_else(tmp_path):
    options = ("--nodes", 3, "--runtime", "cluster:tf", "--image", "a:1", "--retries", 2)
    spec, tasks = compiled_for_a_cluster(tmp_path, *options)
    assert {name: given(each) for name, each in tasks.items()} == {
        "exec-prepare-data": {**PULLS, **READS},
        "exec-train-on-cluster": {**PULLS, **READS},
        "exec-evaluate-model": PULLS,
        "exec-compare-models": PULLS,
    }
    assert not any(each.HasField("resources") for each in ir.executors(spec).values())
    task = ir.tasks(spec)["train-on-cluster"]
    assert task.retry_policy.max_retry_count == 2
    constants = {
        name: ir.value(each.runtime_value.constant)
        for name, each in task.inputs.parameters.items()
        if each.HasField("runtime_value")
    }
    assert constants == {
        "claim": "training",
        "mount": "/data",
        "nodes": 3,
        "cpu": "4",
        "memory": "16Gi",
        "gpu": 2,
        "shared_memory": "8Gi",
        "image": "a:1",
        "runtime": "cluster:tf",
        "node_selector": SELECTOR,
        "tolerations": TOLERATIONS,
        "secrets": [
            {"name": "hub", "env": "HF_TOKEN", "key": "token"},
            {"name": "cloud", "mount": "/etc/cloud"},
        ],
        "image_pull_secrets": ["registry"],
    }
    # What each loss is trained with comes as where one node trains.
    inputs = {name: set(each.inputs.parameters) for name, each in ir.tasks(spec).items()}
    (tmp_path / "one").mkdir()
    one, _ = compiled_for_a_cluster(tmp_path / "one")
    of_one = ir.tasks(one)["train-model"].inputs
    assert inputs["train-on-cluster"] - set(constants) == set(of_one.parameters)
    assert list(task.inputs.artifacts) == list(of_one.artifacts) == ["dataset"]
    evaluated = ir.tasks(spec)["evaluate-model"].inputs.artifacts["model"].task_output_artifact
    assert evaluated.producer_task == "train-on-cluster"
    # Without an image of one's own the nodes have that of the tasks.
    (tmp_path / "default").mkdir()
    default, _ = compiled_for_a_cluster(tmp_path / "default", "--nodes", 2)
    image = ir.tasks(default)["train-on-cluster"].inputs.parameters["image"].runtime_value.constant
    assert ir.value(image) == ir.executors(default)["exec-train-on-cluster"].image


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shared-memory", "8GB"], "shared_memory to be an amount"),
        (["--nodes", "2"], "Name one with --claim"),
        (
            ["--nodes", "2", "--claim", "c", "--accelerator", "a.com/tpu"],
            "several nodes to be nvidia.com/gpu",
        ),
        (["--claim", "My_Claim"], "Expected claim to be the name"),
        (["--runtime", "cluster:"], "Expected runtime to be the name"),
        (["--image-pull-secret", "A"], "Expected image_pull_secret"),
        (["--mount", "here"], "mount to be an absolute path"),
        (["--pipeline-root", "bucket/x"], "s3://, gs:// or minio://"),
        (["--node-selector", "gpu"], "a label as KEY=VALUE"),
        (["--node-selector", "g pu=a"], "a label as KEY=VALUE"),
        (["--toleration", "gpu"], "KEY=VALUE:EFFECT or KEY:EFFECT"),
        (["--toleration", "gpu:Never"], "NoExecute. Received: 'gpu:Never'"),
        (["--secret", "hub"], "NAME=VARIABLE:KEY"),
        (["--secret", "hub=1:a"], "NAME=/FOLDER"),
    ],
)
def test_what_no_cluster_would_take_is_not_compiled(options, message, tmp_path):
    result = invoke("--compile", tmp_path / "a.yaml", *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not list(tmp_path.iterdir())
