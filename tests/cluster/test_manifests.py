"""Manifests against the schemas of the custom resources, of the versions named here."""

import copy
import importlib.metadata

import kubeflow_trainer_api.models
import pytest

from gb_keras.cluster import manifests
from gb_keras.cluster.job import TrainingJob
from gb_keras.cluster.pod_settings import PodSettings
from tests.cluster import schemas

FULL = TrainingJob(
    "digits",
    "registry.example/gb-keras:0.1.0",
    ("--data", "/workspace/digits", "--output", "/workspace/run", "--resume"),
    num_nodes=3,
    cpu="4",
    memory="16Gi",
    gpu=1,
    claim="training",
    pods=PodSettings(
        shared_memory="8Gi",
        node_selector={"gpu": "h100"},
        tolerations=[{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        secrets=[
            {"name": "hub", "key": "token", "env": "HF_TOKEN"},
            {"name": "cloud", "mount": "/etc/cloud"},
        ],
        image_pull_secrets=["registry"],
    ),
)
OWNER = {"apiVersion": "v1", "kind": "Pod", "name": "task", "uid": "1-2-3"}
LEAST = TrainingJob("digits", "gb-keras:0.1.0", ("--data", "/d", "--output", "/o"))
TRAINER_VERSION = (2, 3)


def trainer(name):
    # The version of the models is that of the Kubeflow Trainer whose types they are made of.
    version = importlib.metadata.version("kubeflow_trainer_api")
    assert tuple(map(int, version.split(".")[:2])) >= TRAINER_VERSION
    return getattr(kubeflow_trainer_api.models, f"TrainerV1alpha1{name}")


MANIFESTS = {
    "TrainJob": lambda: (
        manifests.train_job(FULL, OWNER),
        schemas.of_pydantic(trainer("TrainJob")),
    ),
    "TrainJob, the least": lambda: (
        manifests.train_job(LEAST),
        schemas.of_pydantic(trainer("TrainJob")),
    ),
    "TrainingRuntime": lambda: (
        manifests.training_runtime("gb-keras", "gb-keras:0.1.0"),
        schemas.of_pydantic(trainer("TrainingRuntime")),
    ),
    "TFJob": lambda: (
        manifests.tf_job(FULL),
        schemas.of_openapi("kubeflow/training", "1.9.4", "KubeflowOrgV1TFJob"),
    ),
    "TFJob, the least": lambda: (
        manifests.tf_job(LEAST),
        schemas.of_openapi("kubeflow/training", "1.9.4", "KubeflowOrgV1TFJob"),
    ),
    "InferenceService": lambda: (
        manifests.inference_service("digits", "pvc://training/digits", {"cpu": "2"}),
        schemas.of_openapi("kserve", "0.21.0", "V1beta1InferenceService"),
    ),
}


def places(value, place=()):
    """Paths of all dictionaries in a manifest that have fixed fields."""
    if isinstance(value, dict):
        if place[-1:] not in [(name,) for name in ("labels", "limits", "requests", "nodeSelector")]:
            yield place
        for key, inner in value.items():
            yield from places(inner, (*place, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, (*place, index))


def at(manifest, place):
    for key in place:
        manifest = manifest[key]
    return manifest


@pytest.mark.parametrize("kind", MANIFESTS)
def test_manifests_have_known_fields_alone(kind):
    manifest, schema = MANIFESTS[kind]()
    assert schemas.errors(manifest, schema) == []
    for place in places(manifest):
        if place[-1:] == ("tfReplicaSpecs",):
            continue  # Its keys are names of replica types.
        wrong = copy.deepcopy(manifest)
        at(wrong, place)["replicaz"] = 1
        assert schemas.errors(wrong, schema), f"a field that is none passes at {place}"


@pytest.mark.parametrize("kind", MANIFESTS)
def test_values_of_another_type_are_refused(kind):
    manifest, schema = MANIFESTS[kind]()
    for place in places(manifest):
        for key, value in at(manifest, place).items():
            wrong = copy.deepcopy(manifest)
            at(wrong, place)[key] = [] if isinstance(value, str | int) else "text"
            assert schemas.errors(wrong, schema), f"a {type(value)} at {place} may be anything"


@pytest.mark.parametrize("kind", ["TrainJob", "TrainJob, the least", "TrainingRuntime"])
def test_trainer_reads_all_that_is_written(kind):
    manifest, _ = MANIFESTS[kind]()
    model = trainer(manifest["kind"])
    # Fields that a model does not know it drops without a word.
    assert model.from_dict(copy.deepcopy(manifest)).to_dict() == manifest


def test_overrides_of_earlier_trainers_are_refused():
    manifest, schema = MANIFESTS["TrainJob"]()
    manifest["spec"]["podSpecOverrides"] = manifest["spec"].pop("runtimePatches")
    assert "podSpecOverrides" in schemas.errors(manifest, schema)[0]


def test_every_node_is_told_how_many_there_are():
    trainer_spec = manifests.train_job(FULL)["spec"]["trainer"]
    assert trainer_spec["numNodes"] == 3
    assert {"name": "GB_KERAS_NUM_NODES", "value": "3"} in trainer_spec["env"]
    assert trainer_spec["command"] + trainer_spec["args"] == ["gb-keras", "train", *FULL.arguments]


def test_the_volume_is_mounted_in_the_container_that_the_runtime_has():
    runtime = manifests.training_runtime("gb-keras", "gb-keras:0.1.0")
    (replicated,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    (container,) = replicated["template"]["spec"]["template"]["spec"]["containers"]
    (patch,) = manifests.train_job(FULL)["spec"]["runtimePatches"]
    (patched,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    pods = patched["template"]["spec"]["template"]["spec"]
    assert patched["name"] == replicated["name"] == "node"
    (mounting,) = pods["containers"]
    assert mounting["name"] == container["name"]
    assert mounting["volumeMounts"][0]["name"] == pods["volumes"][0]["name"]


def test_pods_of_both_kinds_of_job_are_given_the_same():
    (patch,) = manifests.train_job(FULL)["spec"]["runtimePatches"]
    (nodes,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    pod = nodes["template"]["spec"]["template"]["spec"]
    (container,) = pod.pop("containers")
    assert pod["nodeSelector"] == {"gpu": "h100"}
    assert pod["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    ]
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    volumes = {volume.pop("name"): volume for volume in copy.deepcopy(pod["volumes"])}
    seen = {each["mountPath"]: volumes[each["name"]] for each in container["volumeMounts"]}
    assert seen == {
        "/workspace": {"persistentVolumeClaim": {"claimName": "training"}},
        "/etc/cloud": {"secret": {"secretName": "cloud"}},
        "/dev/shm": {"emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}},
    }
    token = {
        "name": "HF_TOKEN",
        "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}},
    }
    # Kubeflow Trainer refuses variables of the node's container in a patch.
    assert token in manifests.train_job(FULL)["spec"]["trainer"]["env"]
    worker = manifests.tf_job(FULL)["spec"]["tfReplicaSpecs"]["Worker"]["template"]["spec"]
    (of_tf_job,) = worker.pop("containers")
    assert worker.items() >= pod.items()
    assert (of_tf_job["volumeMounts"], of_tf_job["env"]) == (container["volumeMounts"], [token])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "Digits"}, "Expected name .*letters.*'Digits'"),
        ({"name": "1digits"}, "a letter first"),
        ({"name": "d" * 41}, "at most 40"),
        ({"runtime": "cluster:"}, "Expected runtime"),
        ({"image": " "}, "Expected image"),
        ({"num_nodes": 0}, "nodes=0"),
        ({"gpu": -1}, "gpu=-1"),
        ({"cpu": "four"}, "cpu='four'"),
        ({"memory": "16GB"}, "memory='16GB'"),
        ({"claim": "My_Claim"}, "Expected claim"),
        ({"mount": "workspace"}, "absolute path"),
    ],
)
def test_a_job_that_no_cluster_would_take(changes, message):
    with pytest.raises(ValueError, match=message):
        TrainingJob(**{"name": "a", "image": "i", "arguments": (), **changes})


@pytest.mark.parametrize("address", ["", "models/digits", "pvc://", "://x"])
def test_a_model_without_an_address(address):
    with pytest.raises(ValueError, match="Expected the address of an exported model"):
        manifests.inference_service("digits", address)
