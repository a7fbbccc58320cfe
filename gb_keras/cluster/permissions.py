"""The rights that a pipeline's tasks need to train on several nodes."""

from gb_keras.cluster.job import require_object_name
from gb_keras.cluster.manifests import MANAGED_BY, TRAINER, Manifest

_RBAC = "rbac.authorization.k8s.io"
_NAME = "gb-keras-train-on-cluster"


def permissions(service_account: str, namespace: str) -> list[Manifest]:
    """The Role of a task that follows a TrainJob, and its RoleBinding to a service account.

    Args:
        service_account: The account that the pods of pipelines run as.
        namespace: Its namespace, which is that of the pipelines' runs.

    Returns:
        Both manifests.

    Raises:
        ValueError: A name is none that Kubernetes takes.

    Example:
        >>> role, _ = permissions("pipeline-runner", "kubeflow")
        >>> role["rules"][0]["verbs"]
        ['create', 'get', 'delete']
    """
    require_object_name("service-account", service_account)
    require_object_name("namespace", namespace)
    metadata = {"name": _NAME, "namespace": namespace, "labels": dict(MANAGED_BY)}
    role = {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "Role",
        "metadata": metadata,
        "rules": [
            _rule(TRAINER, "trainjobs", "create", "get", "delete"),
            _rule("", "pods", "list"),
            _rule("", "pods/log", "get"),
        ],
    }
    binding = {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": _NAME},
        "subjects": [{"kind": "ServiceAccount", "name": service_account, "namespace": namespace}],
    }
    return [role, binding]


def _rule(group: str, resource: str, *verbs: str) -> Manifest:
    return {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}
