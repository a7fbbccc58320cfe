"""How the tasks of the pipeline run, which KFP fixes when a pipeline is compiled."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from kfp import kubernetes
from kfp.dsl.pipeline_task import PipelineTask

# Not those of gb_keras.cluster: to import it loads TensorFlow, for seconds.
_QUANTITY = re.compile(r"\d+(\.\d+)?(m|[kMGTPE]|[KMGTPE]i)?")
_OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_LABEL = re.compile(r"([a-z0-9][-a-z0-9.]*/)?[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?)?")
_VARIABLE = re.compile(r"[A-Za-z_]\w*")
_SECRET_KEY = re.compile(r"[-\w.]+")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
# Those that KFP copies to and from by itself.
_STORES = re.compile(r"(s3|gs|minio)://.+")
_GPU = "nvidia.com/gpu"


@dataclasses.dataclass(frozen=True)
class Settings:
    """How the tasks run.

    Attributes:
        image: Image of all tasks. None keeps the one that the components name.
        retries: How many times a failed task is tried again.
        caching: Whether a task that ran before with the same inputs is skipped and its outputs
            are taken.
        image_pull_secrets: Names of the Secrets that the image is pulled with.
        pipeline_root: Address of the folder for all results, s3://, gs:// or minio://. None is
            what the cluster has.
        claim: PersistentVolumeClaim that is mounted where data are prepared and models trained.
            None is without.
        mount: Folder at which it is mounted.
        secrets: Secrets for preparing and training, each as `secret` gives it.
        cpu: CPUs of a training, for example "4" or "500m". None sets no limit.
        memory: Memory of a training, for example "16Gi". None sets no limit.
        accelerator: Type of a training's accelerators, for example "nvidia.com/gpu". None is
            without.
        accelerator_count: Number of a training's accelerators.
        shared_memory: Size of a training's /dev/shm, for example "8Gi". None is what the container
            has, 64 MiB as a rule.
        node_selector: Labels of the machines that a training may run on, value by key.
        tolerations: Taints of machines that do not keep a training away, each as `toleration`
            gives it.
        nodes: Nodes on which each training runs, as a TrainJob where there are several. They need
            a claim that all of them see, and what is said of a training is said of each node.
        runtime: TrainingRuntime of the TrainJob, or cluster:NAME for a ClusterTrainingRuntime.
        parallelism: How many trainings run at a time. 0 is all.

    Raises:
        ValueError: One of them is nothing that Kubernetes takes, or they do not go together.
    """

    image: str | None = None
    retries: int = 0
    caching: bool = True
    image_pull_secrets: Sequence[str] = ()
    pipeline_root: str | None = None
    claim: str | None = None
    mount: str = "/workspace"
    secrets: Sequence[Mapping[str, str]] = ()
    cpu: str | None = None
    memory: str | None = None
    accelerator: str | None = None
    accelerator_count: int = 1
    shared_memory: str | None = None
    node_selector: Mapping[str, str] = dataclasses.field(default_factory=dict)
    tolerations: Sequence[Mapping[str, str]] = ()
    nodes: int = 1
    runtime: str = "gb-keras"
    parallelism: int = 0

    def __post_init__(self):
        for option in ("cpu", "memory", "shared_memory"):
            amount = "an amount as Kubernetes writes it, such as 4, 500m or 16Gi"
            _require(_QUANTITY, option, getattr(self, option), amount)
        for option, names in (
            ("claim", [self.claim]),
            ("image_pull_secret", self.image_pull_secrets),
            ("runtime", [self.runtime.removeprefix("cluster:")]),
        ):
            for name in names:
                _require(_OBJECT_NAME, option, name, "the name of an object as Kubernetes takes it")
        _require(
            _STORES, "pipeline_root", self.pipeline_root, "s3://, gs:// or minio:// and a path"
        )
        _require(re.compile("/.+"), "mount", self.mount, "an absolute path")
        if self.nodes < 1:
            raise ValueError(f"Expected nodes to be at least 1. Received: {self.nodes}.")
        if self.nodes > 1 and self.claim is None:
            raise ValueError(
                f"Expected a claim with nodes={self.nodes}: data and results of several nodes lie "
                "on a volume that all of them see. Received none. Name one with --claim."
            )
        if self.nodes > 1 and self.accelerator not in (None, _GPU):
            raise ValueError(
                f"Expected accelerators of several nodes to be {_GPU}. Received: "
                f"{self.accelerator!r}."
            )

    @property
    def of_nodes(self) -> dict[str, Any]:
        """Arguments of the component train_on_cluster, but for the image."""
        return {
            "claim": self.claim,
            "mount": self.mount,
            "nodes": self.nodes,
            "cpu": self.cpu or "",
            "memory": self.memory or "",
            "gpu": 0 if self.accelerator is None else self.accelerator_count,
            "shared_memory": self.shared_memory or "",
            "runtime": self.runtime,
            "node_selector": dict(self.node_selector),
            "tolerations": [dict(each) for each in self.tolerations],
            "secrets": [dict(each) for each in self.secrets],
            "image_pull_secrets": list(self.image_pull_secrets),
        }


def apply(
    settings: Settings, task: PipelineTask, *, reads: bool = False, trains: bool = False
) -> None:
    """Let a task run as settings say.

    Args:
        settings: The settings.
        task: The task.
        reads: Whether it reads what lies outside of the pipeline: it gets claim and secrets.
        trains: Whether it trains in its own pod: it gets resources and the machines for them.
    """
    if settings.image is not None:
        task.set_container_image(settings.image)
    task.set_caching_options(settings.caching)
    if settings.retries:
        task.set_retry(settings.retries)
    if settings.image_pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(settings.image_pull_secrets))
    if reads:
        if settings.claim is not None:
            kubernetes.mount_pvc(task, pvc_name=settings.claim, mount_path=settings.mount)
        for each in settings.secrets:
            _give_secret(task, each)
    if trains:
        _give_resources(settings, task)
        for key, value in settings.node_selector.items():
            kubernetes.add_node_selector(task, key, value)
        for each in settings.tolerations:
            kubernetes.add_toleration(task, **each)


def label(text: str) -> tuple[str, str]:
    """A label of a machine, written as KEY=VALUE.

    Args:
        text: What was written.

    Returns:
        Key and value.

    Raises:
        ValueError: It is none.
    """
    key, equals, value = text.partition("=")
    if not equals or not _LABEL.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
        raise ValueError(f"Expected a label as KEY=VALUE. Received: {text!r}.")
    return key, value


def toleration(text: str) -> dict[str, str]:
    """A taint that is tolerated, written as kubectl writes it: KEY=VALUE:EFFECT or KEY:EFFECT.

    Args:
        text: What was written.

    Returns:
        The toleration in Kubernetes's words; without a value any is tolerated.

    Raises:
        ValueError: It is none.
    """
    taint, _, effect = text.rpartition(":")
    key, equals, value = taint.partition("=")
    if effect not in _EFFECTS or not _LABEL.fullmatch(key) or not (_LABEL_VALUE.fullmatch(value)):
        raise ValueError(
            "Expected a toleration as KEY=VALUE:EFFECT or KEY:EFFECT, with one of the effects "
            f"{', '.join(_EFFECTS)}. Received: {text!r}."
        )
    if equals:
        return {"key": key, "operator": "Equal", "value": value, "effect": effect}
    return {"key": key, "operator": "Exists", "effect": effect}


def secret(text: str) -> dict[str, str]:
    """A Secret, written as NAME=VARIABLE:KEY or NAME=/FOLDER.

    Args:
        text: What was written.

    Returns:
        `{"name", "env", "key"}` for one value in an environment variable, or `{"name", "mount"}`
        for a folder with a file for each key.

    Raises:
        ValueError: It is none.
    """
    name, _, use = text.partition("=")
    if _OBJECT_NAME.fullmatch(name):
        if use.startswith("/") and use != "/":
            return {"name": name, "mount": use}
        variable, _, key = use.partition(":")
        if _VARIABLE.fullmatch(variable) and _SECRET_KEY.fullmatch(key):
            return {"name": name, "env": variable, "key": key}
    raise ValueError(
        "Expected a Secret as NAME=VARIABLE:KEY, for a value in an environment variable, or as "
        f"NAME=/FOLDER, for a folder with a file for each key. Received: {text!r}."
    )


def _require(pattern: re.Pattern, option: str, value: str | None, what: str) -> None:
    if value is not None and not pattern.fullmatch(value):
        raise ValueError(f"Expected {option} to be {what}. Received: {value!r}.")


def _give_secret(task: PipelineTask, given: Mapping[str, str]) -> None:
    if "mount" in given:
        kubernetes.use_secret_as_volume(task, given["name"], mount_path=given["mount"])
    else:
        kubernetes.use_secret_as_env(task, given["name"], {given["key"]: given["env"]})


def _give_resources(settings: Settings, task: PipelineTask) -> None:
    """CPUs, memory and accelerators; Kubernetes requests what is the limit."""
    if settings.cpu is not None:
        task.set_cpu_limit(settings.cpu)
    if settings.memory is not None:
        task.set_memory_limit(settings.memory)
    if settings.accelerator is not None:
        task.set_accelerator_type(settings.accelerator)
        task.set_accelerator_limit(settings.accelerator_count)
    if settings.shared_memory is not None:
        kubernetes.empty_dir_mount(
            task,
            volume_name="shared-memory",
            mount_path="/dev/shm",
            medium="Memory",
            size_limit=settings.shared_memory,
        )
