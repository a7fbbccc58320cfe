"""The Kubernetes API of a cluster with Kubeflow Trainer, with errors in plain words."""

import contextlib
import json
import logging
import os
from collections.abc import Iterator
from typing import Any

import urllib3
from kubeflow.common.types import KubernetesBackendConfig
from kubeflow.common.utils import get_default_target_namespace, is_running_in_k8s
from kubeflow.trainer import TrainerClient
from kubernetes import client, config, watch

from gb_keras.cluster.errors import ClusterError
from gb_keras.cluster.manifests import MANAGED_BY, NODE, TRAINER, Manifest

_PLURALS = {
    "TrainJob": "trainjobs",
    "TrainingRuntime": "trainingruntimes",
    "InferenceService": "inferenceservices",
    "Experiment": "experiments",
}
_NEEDED = {
    "TrainJob": "Kubeflow Trainer 2.2 or later",
    "TrainingRuntime": "Kubeflow Trainer 2.2 or later",
    "InferenceService": "KServe",
    "Experiment": "Katib",
}
_TRAINER = (TRAINER, "v1alpha1")
# Worth another try: too many requests, and what is wrong in the server and may pass.
_PASSING = (429, 500, 502, 503, 504)


class Cluster:
    """A namespace of a cluster, as the user's kubeconfig or the pod's service account shows it.

    Args:
        namespace: Namespace of all objects; None is that of the context, else `default`.
        context: Context of the kubeconfig; None is the current one.
        request_timeout: Seconds until a request without an answer is given up.

    Raises:
        ClusterError: There is no configuration, or the cluster does not answer.
    """

    def __init__(
        self,
        namespace: str | None = None,
        context: str | None = None,
        request_timeout: float = 30.0,
    ) -> None:
        # To connect and to read; a single number that is no integer the client does not regard.
        self._timeout = (request_timeout, request_timeout)
        configuration, usual_namespace = _configuration(context)
        self.namespace = namespace or usual_namespace
        with self._plain_errors("reach the cluster"):
            # The SDK's first request has no time limit, so a cluster that is silent is seen here.
            api = client.VersionApi(client.ApiClient(configuration))
            api.get_code(_preload_content=False, _request_timeout=self._timeout)
        # It warns where users may not read the version of the Trainer, as most may not.
        logging.getLogger("kubeflow.trainer.backends.kubernetes.backend").setLevel(logging.ERROR)
        backend_config = KubernetesBackendConfig(
            namespace=self.namespace, client_configuration=configuration
        )
        self._client = TrainerClient(backend_config)
        self._objects = self._client.backend.custom_api
        self._core = self._client.backend.core_api

    def create(self, manifest: Manifest) -> None:
        """Create an object.

        Args:
            manifest: Its manifest; the namespace is that of this object.

        Raises:
            ClusterError: The cluster refused, has an object of this name, or did not answer.
        """
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        with self._plain_errors(f"create the {kind} {name}", kind):
            self._objects.create_namespaced_custom_object(
                *_place(manifest, self.namespace), manifest, _request_timeout=self._timeout
            )

    def install(self, manifest: Manifest) -> None:
        """Create an object, or bring the one that we have created earlier up to date.

        Args:
            manifest: Its manifest, with the label `app.kubernetes.io/managed-by: gb-keras`.

        Raises:
            ClusterError: As `create`; or an object of this name is not ours.
        """
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        place = _place(manifest, self.namespace)
        with self._plain_errors(f"install the {kind} {name}", kind):
            try:
                self._objects.create_namespaced_custom_object(
                    *place, manifest, _request_timeout=self._timeout
                )
                return
            except client.ApiException as error:
                if error.status != 409:
                    raise
            present = self._objects.get_namespaced_custom_object(
                *place, name, _request_timeout=self._timeout
            )
            labels = present["metadata"].get("labels") or {}
            if not MANAGED_BY.items() <= labels.items():
                raise ClusterError(
                    f"The namespace {self.namespace} has a {kind} {name} which gb-keras has not "
                    "made, so it is left alone. Use it without --install-runtime, or name another "
                    "with --runtime."
                )
            self._objects.patch_namespaced_custom_object(
                *place, name, manifest, _request_timeout=self._timeout
            )

    def train_job(self, name: str) -> Manifest:
        """The TrainJob of a name, with its status.

        Args:
            name: Name of the job.

        Returns:
            The object as the cluster has it.

        Raises:
            ClusterError: There is none, or the cluster refused or did not answer.
        """
        with self._plain_errors(f"read the TrainJob {name}", "TrainJob"):
            return self._objects.get_namespaced_custom_object(
                *_TRAINER, self.namespace, "trainjobs", name, _request_timeout=self._timeout
            )

    def find_train_job(self, name: str) -> Manifest | None:
        """The TrainJob of a name, if there is one.

        Args:
            name: Name of the job.

        Returns:
            The object as the cluster has it, or None.

        Raises:
            ClusterError: The cluster refused or did not answer.
        """
        try:
            return self.train_job(name)
        except ClusterError as error:
            if isinstance(error.__cause__, client.ApiException) and error.__cause__.status == 404:
                return None
            raise

    def pods(self, name: str) -> list[client.V1Pod]:
        """The pods of a TrainJob.

        Args:
            name: Name of the job.

        Returns:
            Its pods, also those of earlier attempts that are still there.

        Raises:
            ClusterError: The cluster refused or did not answer.
        """
        with self._plain_errors(f"list the pods of {name}", "pods"):
            return self._core.list_namespaced_pod(
                self.namespace,
                label_selector=f"jobset.sigs.k8s.io/jobset-name={name}",
                _request_timeout=self._timeout,
            ).items

    def log(self, pod: str, silence: float | None = None) -> Iterator[str]:
        """The lines that a node prints, as they come, until it ends.

        Args:
            pod: Name of its pod.
            silence: Seconds without a line until it is given up; None waits.

        Yields:
            A line at a time.

        Raises:
            ClusterError: The cluster refused, or the connection broke.
        """
        with self._plain_errors(f"read the log of {pod}", "pods/log"):
            yield from watch.Watch().stream(
                self._core.read_namespaced_pod_log,
                name=pod,
                namespace=self.namespace,
                container=NODE,
                _request_timeout=(self._timeout[0], silence),
            )

    def delete(self, name: str) -> None:
        """Delete a TrainJob and with it its pods. What they have written stays.

        Args:
            name: Name of the job.

        Raises:
            ClusterError: There is none, or the cluster refused or did not answer.
        """
        with self._plain_errors(f"delete the TrainJob {name}", "TrainJob"):
            self._client.delete_job(name)

    @contextlib.contextmanager
    def _plain_errors(self, what: str, kind: str = "") -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            # The SDK hides what happened in the cause.
            if not isinstance(error.__cause__, client.ApiException | urllib3.exceptions.HTTPError):
                raise
            raise self._plain(error.__cause__, what, kind) from error
        except (client.ApiException, urllib3.exceptions.HTTPError) as error:
            raise self._plain(error, what, kind) from error

    def _plain(self, error: Exception, what: str, kind: str) -> ClusterError:
        if not isinstance(error, client.ApiException):
            if isinstance(error, urllib3.exceptions.ReadTimeoutError):
                why = (
                    "It did not answer in time. The request may have been carried out all the same"
                )
            else:
                why = f"It cannot be reached: {error}"
            return ClusterError(
                f"Could not {what}. {why}. See that `kubectl version` answers, and try again.",
                passing=True,
            )
        said = _message(error)
        resource = _PLURALS.get(kind, "pods")
        advice = {
            401: "Log in to the cluster anew.",
            403: f"Ask for the right to do so in the namespace {self.namespace}.",
            404: self._advice_for_absent(said, kind, resource),
            409: f"Choose another name, or delete that one first with `kubectl delete {resource}`.",
        }.get(error.status, "Try again." if error.status in _PASSING else "")
        return ClusterError(
            f"Could not {what}. The cluster says: {said} ({error.status} {error.reason}). "
            f"{advice}".strip(),
            passing=error.status in _PASSING,
        )

    def _advice_for_absent(self, said: str, kind: str, resource: str) -> str:
        # The API server's own words where it does not know the kind of object at all.
        unknown = "page not found" in said or "could not find the requested resource" in said
        if unknown and kind in _NEEDED:
            return f"It needs {_NEEDED[kind]}; ask for it to be installed."
        return f"Look with `kubectl get {resource} -n {self.namespace}`."


def _configuration(context: str | None) -> tuple[client.Configuration, str]:
    """How to reach the cluster, and the namespace to work in where none is named."""
    configuration = client.Configuration()
    # Another try is ours to make, where it does no harm.
    configuration.retries = False
    file = os.environ.get("KUBECONFIG") or None
    try:
        config.load_kube_config(file, context, configuration)
        contexts, current = config.list_kube_config_contexts(file)
    except config.ConfigException as error:
        if context is not None or not is_running_in_k8s():
            raise ClusterError(
                f"No cluster is configured: {str(error).rstrip('.')}. Name a kubeconfig file in "
                "KUBECONFIG, and a context of it with --context."
            ) from error
        config.load_incluster_config(configuration)
        return configuration, get_default_target_namespace()
    chosen = next((each for each in contexts if each["name"] == context), current)
    return configuration, chosen["context"].get("namespace", "default")


def _place(manifest: Manifest, namespace: str) -> tuple[str, str, str, str]:
    group, version = manifest["apiVersion"].split("/")
    return group, version, namespace, _PLURALS[manifest["kind"]]


def _message(error: client.ApiException) -> str:
    """What the API server says in the body of its answer, in one line."""
    body: Any
    try:
        body = json.loads(error.body or "")
    except ValueError:
        body = None
    said = body.get("message") if isinstance(body, dict) else error.body
    return " ".join(str(said or error.reason or "nothing").split()).rstrip(".")
