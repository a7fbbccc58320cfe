"""Where the pods of a training may run, and what else they are given than CPUs and memory."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from gb_keras.cluster.quantities import require_quantity

_SHARED_MEMORY = "shared-memory"
_SECRET_KEYS = ({"name", "env", "key"}, {"name", "mount"})


@dataclasses.dataclass(frozen=True)
class PodSettings:
    """Fields of a pod, in Kubernetes's words.

    Attributes:
        shared_memory: Size of `/dev/shm`, such as `"8Gi"`, which GPUs of one node exchange data
            through; None leaves it at the container's 64 MiB.
        node_selector: Labels that a machine must have, value by key.
        tolerations: Taints of machines that do not keep the pod away, each as Kubernetes writes
            it: `{"key": ..., "operator": "Exists", "effect": "NoSchedule"}`.
        secrets: Secrets of the namespace, each as `{"name": ..., "key": ..., "env": ...}`, the
            value of a key in an environment variable, or as `{"name": ..., "mount": ...}`, a
            folder with a file for each key.
        image_pull_secrets: Names of the Secrets that the image is pulled with.

    Raises:
        ValueError: The size is none, or a Secret is described otherwise.

    Example:
        >>> PodSettings(node_selector={"gpu": "h100"}).fields
        {'nodeSelector': {'gpu': 'h100'}}
        >>> PodSettings(secrets=[{"name": "hub"}])
        Traceback (most recent call last):
        ...
        ValueError: Expected each secret to have name, key and env, or name and mount. Received:
        {'name': 'hub'}.
    """

    shared_memory: str | None = None
    node_selector: Mapping[str, str] = dataclasses.field(default_factory=dict)
    tolerations: Sequence[Mapping[str, Any]] = ()
    secrets: Sequence[Mapping[str, str]] = ()
    image_pull_secrets: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.shared_memory is not None:
            require_quantity("shared_memory", self.shared_memory)
        for secret in self.secrets:
            if set(secret) not in _SECRET_KEYS:
                raise ValueError(
                    "Expected each secret to have name, key and env, or name and mount. Received: "
                    f"{dict(secret)!r}."
                )

    @property
    def fields(self) -> dict[str, Any]:
        """Fields of the pod itself, those that are given."""
        fields = {
            "nodeSelector": dict(self.node_selector),
            "tolerations": [dict(each) for each in self.tolerations],
            "imagePullSecrets": [{"name": name} for name in self.image_pull_secrets],
        }
        return {name: value for name, value in fields.items() if value}

    @property
    def env(self) -> list[dict[str, Any]]:
        """Environment variables of the container."""
        return [
            {
                "name": secret["env"],
                "valueFrom": {"secretKeyRef": {"name": secret["name"], "key": secret["key"]}},
            }
            for secret in self.secrets
            if "env" in secret
        ]

    @property
    def volumes(self) -> list[tuple[str, dict[str, Any]]]:
        """Volumes of the pod, each after the folder at which the container sees it."""
        volumes: list[tuple[str, dict[str, Any]]] = [
            (
                secret["mount"],
                {"name": f"secret-{number}", "secret": {"secretName": secret["name"]}},
            )
            for number, secret in enumerate(self.secrets)
            if "mount" in secret
        ]
        if self.shared_memory is not None:
            memory = {"medium": "Memory", "sizeLimit": self.shared_memory}
            volumes.append(("/dev/shm", {"name": _SHARED_MEMORY, "emptyDir": memory}))
        return volumes
