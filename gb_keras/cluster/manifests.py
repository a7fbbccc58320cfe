"""Objects of a Kubernetes cluster, as plain dictionaries ready for YAML or JSON.

The field names are those of Kubeflow Trainer v2 (`trainer.kubeflow.org/v1alpha1`), of the older
Training Operator (`kubeflow.org/v1`), of KServe (`serving.kserve.io/v1beta1`) and of Katib
(`kubeflow.org/v1beta1`).
"""

from typing import Any

from gb_keras.cluster.job import TrainingJob, require_object_name
from gb_keras.cluster.node import JOB_NAME, NUM_NODES, PORT

Manifest = dict[str, Any]

TRAINER = "trainer.kubeflow.org"
MANAGED_BY = {"app.kubernetes.io/managed-by": "gb-keras"}
# Names that Kubeflow Trainer and the Training Operator look for.
NODE = "node"
_TF_JOB_CONTAINER = "tensorflow"
_VOLUME = "workspace"
# The user of our image; a volume is made writable for its group.
_GROUP = 1000
_MAX_RESTARTS = 3
# With these a command says that it was called wrongly: again would not help.
_USAGE_ERROR = 2


def training_runtime(name: str, image: str) -> Manifest:
    """The TrainingRuntime for TensorFlow, of which Kubeflow Trainer brings none.

    Its nodes run one process each and find each other by `gb_keras.cluster.node`. If one fails, all
    are started again, three times at most, as TensorFlow's workers need it; a command that was
    called wrongly (exit code 2) fails the job at once.

    Args:
        name: Name of the runtime.
        image: Container image for jobs that name none.

    Returns:
        The manifest.

    Raises:
        ValueError: The name is none that Kubernetes takes.

    Example:
        >>> runtime = training_runtime("gb-keras", "gb-keras:0.1.0")
        >>> runtime["metadata"]["labels"]["trainer.kubeflow.org/framework"]
        'tensorflow'
    """
    require_object_name("runtime", name)
    pods = {
        # A restart is one of all nodes, which is for the job set to make.
        "restartPolicy": "Never",
        "securityContext": {"fsGroup": _GROUP},
        "containers": [{"name": NODE, "image": image}],
    }
    failed_by_usage = {
        "action": "FailJob",
        "onExitCodes": {"containerName": NODE, "operator": "In", "values": [_USAGE_ERROR]},
    }
    job = {
        "backoffLimit": 0,
        "podFailurePolicy": {"rules": [failed_by_usage]},
        "template": {"spec": pods},
    }
    nodes = {
        "name": NODE,
        "template": {
            "metadata": {"labels": {f"{TRAINER}/trainjob-ancestor-step": "trainer"}},
            "spec": job,
        },
    }
    failure_policy = {
        "maxRestarts": _MAX_RESTARTS,
        "rules": [
            {
                "name": "usageError",
                "action": "FailJobSet",
                "onJobFailureReasons": ["PodFailurePolicy"],
            }
        ],
    }
    return {
        "apiVersion": f"{TRAINER}/v1alpha1",
        "kind": "TrainingRuntime",
        "metadata": {
            "name": name,
            "labels": {f"{TRAINER}/framework": "tensorflow", **MANAGED_BY},
        },
        "spec": {
            "mlPolicy": {"numNodes": 1},
            "template": {"spec": {"failurePolicy": failure_policy, "replicatedJobs": [nodes]}},
        },
    }


def train_job(job: TrainingJob, owner: Manifest | None = None) -> Manifest:
    """The TrainJob of a training.

    Args:
        job: The training.
        owner: The object of the same namespace with which the job is deleted, as Kubernetes
            refers to it: `apiVersion`, `kind`, `name` and `uid`; None is without.

    Returns:
        The manifest.

    Example:
        >>> manifest = train_job(TrainingJob("lt", "gb-keras:0.1.0", ("--epochs", "9"), gpu=1))
        >>> manifest["spec"]["trainer"]["resourcesPerNode"]["limits"]
        {'nvidia.com/gpu': '1'}
    """
    trainer: Manifest = {
        "numNodes": job.num_nodes,
        "image": job.image,
        "command": ["gb-keras", "train"],
        "args": list(job.arguments),
        "env": [
            {"name": JOB_NAME, "value": job.name},
            {"name": NUM_NODES, "value": str(job.num_nodes)},
            *job.pods.env,
        ],
    }
    if job.resources:
        trainer["resourcesPerNode"] = _resources(job.resources)
    spec: Manifest = {
        "runtimeRef": {
            "apiGroup": TRAINER,
            "kind": job.runtime_kind,
            "name": job.runtime_name,
        },
        "trainer": trainer,
    }
    pod, mounts = _pod(job)
    if mounts:
        pod["containers"] = [{"name": NODE, "volumeMounts": mounts}]
    if pod:
        spec["runtimePatches"] = [_patch(pod)]
    metadata: Manifest = {"name": job.name, "labels": dict(MANAGED_BY)}
    if owner is not None:
        metadata["ownerReferences"] = [owner]
    return {
        "apiVersion": f"{TRAINER}/v1alpha1",
        "kind": "TrainJob",
        "metadata": metadata,
        "spec": spec,
    }


def tf_job(job: TrainingJob) -> Manifest:
    """The same training as a TFJob of the older Training Operator, which sets `TF_CONFIG` itself.

    Args:
        job: The training; its runtime plays no part.

    Returns:
        The manifest.

    Example:
        >>> manifest = tf_job(TrainingJob("lt", "gb-keras:0.1.0", (), num_nodes=3))
        >>> manifest["spec"]["tfReplicaSpecs"]["Worker"]["replicas"]
        3
    """
    container: Manifest = {
        "name": _TF_JOB_CONTAINER,
        "image": job.image,
        "command": ["gb-keras", "train"],
        "args": list(job.arguments),
        "ports": [{"name": "tfjob-port", "containerPort": PORT}],
    }
    more, mounts = _pod(job)
    pod: Manifest = {"securityContext": {"fsGroup": _GROUP}, "containers": [container], **more}
    if job.resources:
        container["resources"] = _resources(job.resources)
    if job.pods.env:
        container["env"] = job.pods.env
    if mounts:
        container["volumeMounts"] = mounts
    worker = {
        "replicas": job.num_nodes,
        "restartPolicy": "OnFailure",
        "template": {"spec": pod},
    }
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "TFJob",
        "metadata": {"name": job.name, "labels": dict(MANAGED_BY)},
        "spec": {
            "runPolicy": {"backoffLimit": _MAX_RESTARTS, "cleanPodPolicy": "None"},
            "tfReplicaSpecs": {"Worker": worker},
        },
    }


def inference_service(
    name: str, storage_uri: str, resources: dict[str, str] | None = None
) -> Manifest:
    """The KServe InferenceService of a model that `gb-keras export` has written.

    Args:
        name: Name of the service.
        storage_uri: Where the exported folder lies, the one with the folder `1` in it:
            `pvc://CLAIM/PATH`, `s3://...`, `gs://...` or another that KServe knows.
        resources: What the server asks for, such as `{"cpu": "2", "memory": "4Gi"}`; None leaves
            it to KServe.

    Returns:
        The manifest.

    Raises:
        ValueError: The name is none that Kubernetes takes, or the address has no scheme.

    Example:
        >>> service = inference_service("lt", "pvc://workspace/serving/lt")
        >>> service["spec"]["predictor"]["model"]["modelFormat"]
        {'name': 'tensorflow'}
    """
    require_object_name("name", name)
    scheme, _, place = storage_uri.partition("://")
    if not scheme or not place:
        raise ValueError(
            "Expected the address of an exported model as KServe writes it, such as "
            f"pvc://CLAIM/PATH or s3://BUCKET/PATH. Received: {storage_uri!r}."
        )
    model: Manifest = {"modelFormat": {"name": "tensorflow"}, "storageUri": storage_uri}
    if resources:
        model["resources"] = _resources(resources)
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "labels": dict(MANAGED_BY)},
        "spec": {"predictor": {"model": model}},
    }


def _resources(amounts: dict[str, str]) -> Manifest:
    """Requests equal to limits: what a training is promised it has, and it takes no more."""
    return {"requests": dict(amounts), "limits": dict(amounts)}


def _pod(job: TrainingJob) -> tuple[Manifest, list[Manifest]]:
    """What the pod of a node has beside its container, and the volumes that this one sees."""
    volumes = list(job.pods.volumes)
    if job.claim is not None:
        claim = {"name": _VOLUME, "persistentVolumeClaim": {"claimName": job.claim}}
        volumes.insert(0, (job.mount, claim))
    pod = job.pods.fields
    if volumes:
        pod["volumes"] = [volume for _, volume in volumes]
    return pod, [{"name": volume["name"], "mountPath": folder} for folder, volume in volumes]


def _patch(pod: Manifest) -> Manifest:
    """The part of a TrainJob that adds to the pods of its runtime's nodes."""
    nodes = {"name": NODE, "template": {"spec": {"template": {"spec": pod}}}}
    return {
        "manager": "gb-keras/submit",
        "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [nodes]}}},
    }
