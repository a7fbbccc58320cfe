"""A training to be run on a cluster: what a user says of it, checked before it is submitted."""

import dataclasses
import re
from pathlib import PurePosixPath

from gb_keras.cluster.pod_settings import PodSettings
from gb_keras.cluster.quantities import require_quantity

# Host names of nodes are the job's name and a suffix, 63 characters at most in all.
_MAX_NAME = 40
_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_CLUSTER = "cluster:"


@dataclasses.dataclass(frozen=True)
class TrainingJob:
    """A command of `gb-keras train` and where it runs.

    Attributes:
        name: Name of the job, as for a host: lower-case letters, digits, dashes; at most 40.
        image: Container image with gb_keras and its stages.
        arguments: What follows `gb-keras train`.
        runtime: Name of the TrainingRuntime in the job's namespace, or `cluster:NAME` for a
            ClusterTrainingRuntime.
        num_nodes: Nodes that train together, at least 1.
        cpu: CPUs of each node, such as `"4"` or `"500m"`; None leaves it to the runtime.
        memory: Memory of each node, such as `"16Gi"`; None leaves it to the runtime.
        gpu: GPUs of each node, at least 0.
        claim: Name of a PersistentVolumeClaim that all nodes see, or None.
        mount: Folder at which they see it, an absolute path.
        pods: Where the nodes may run, and what else they are given.

    Raises:
        ValueError: An attribute is out of its range.

    Example:
        >>> TrainingJob("lt", "gb-keras:0.1.0", ("--data", "/workspace/d"), num_nodes=0)
        Traceback (most recent call last):
        ...
        ValueError: Expected nodes to be a number of at least 1. Received: nodes=0.
    """

    name: str
    image: str
    arguments: tuple[str, ...]
    runtime: str = "gb-keras"
    num_nodes: int = 1
    cpu: str | None = None
    memory: str | None = None
    gpu: int = 0
    claim: str | None = None
    mount: str = "/workspace"
    pods: PodSettings = dataclasses.field(default_factory=PodSettings)

    def __post_init__(self) -> None:
        require_object_name("name", self.name, _MAX_NAME)
        require_object_name("runtime", self.runtime_name)
        if self.claim is not None:
            require_object_name("claim", self.claim)
        if not self.image.strip():
            raise ValueError(f"Expected image to name a container image. Received: {self.image!r}.")
        for option, value, least in (("nodes", self.num_nodes, 1), ("gpu", self.gpu, 0)):
            if value < least:
                raise ValueError(
                    f"Expected {option} to be a number of at least {least}. Received: "
                    f"{option}={value!r}."
                )
        amounts(self.cpu, self.memory)
        if not PurePosixPath(self.mount).is_absolute():
            raise ValueError(f"Expected mount to be an absolute path. Received: {self.mount!r}.")

    @property
    def runtime_name(self) -> str:
        """Name of the runtime without `cluster:`."""
        return self.runtime.removeprefix(_CLUSTER)

    @property
    def runtime_kind(self) -> str:
        """`"TrainingRuntime"` or `"ClusterTrainingRuntime"`."""
        cluster_wide = self.runtime.startswith(_CLUSTER)
        return "ClusterTrainingRuntime" if cluster_wide else "TrainingRuntime"

    @property
    def resources(self) -> dict[str, str]:
        """What each node asks for, in Kubernetes's words; GPUs as `nvidia.com/gpu`."""
        gpu = {"nvidia.com/gpu": str(self.gpu)} if self.gpu else {}
        return {**amounts(self.cpu, self.memory), **gpu}


def require_object_name(option: str, value: str, longest: int = 63) -> None:
    """Refuse what Kubernetes would not take as the name of an object.

    Args:
        option: What the name was given for.
        value: The name.
        longest: Number of characters that it may have.

    Raises:
        ValueError: The name has other characters, or too many.

    Example:
        >>> require_object_name("claim", "Data_1")
        Traceback (most recent call last):
        ...
        ValueError: Expected claim to be at most 63 lower-case letters, digits and dashes, a letter
        first. Received: 'Data_1'.
    """
    if len(value) > longest or not _NAME.fullmatch(value):
        raise ValueError(
            f"Expected {option} to be at most {longest} lower-case letters, digits and dashes, a "
            f"letter first. Received: {value!r}."
        )


def amounts(cpu: str | None, memory: str | None) -> dict[str, str]:
    """Amounts of CPUs and memory by name, those that are given.

    Args:
        cpu: CPUs, such as `"4"` or `"500m"`, or None.
        memory: Memory, such as `"16Gi"`, or None.

    Returns:
        `{"cpu": ..., "memory": ...}`, without what is None.

    Raises:
        ValueError: One of them is no amount as Kubernetes writes it.

    Example:
        >>> amounts("4", None)
        {'cpu': '4'}
        >>> amounts(None, "16 GB")
        Traceback (most recent call last):
        ...
        ValueError: Expected memory to be an amount as Kubernetes writes it, such as 4, 500m or
        16Gi. Received: memory='16 GB'.
    """
    given = {name: value for name, value in (("cpu", cpu), ("memory", memory)) if value is not None}
    for name, value in given.items():
        require_quantity(name, value)
    return given
