"""A Kubernetes API over HTTP that keeps objects in memory, and what Kubeflow Trainer does there."""

import asyncio
import threading

import kmock
import yaml

NAMESPACE = "research"
JOBS = kmock.resource("trainer.kubeflow.org/v1alpha1/trainjobs")
RUNTIMES = kmock.resource("trainer.kubeflow.org/v1alpha1/trainingruntimes")
SERVICES = kmock.resource("serving.kserve.io/v1beta1/inferenceservices")
EXPERIMENTS = kmock.resource("kubeflow.org/v1beta1/experiments")
PODS = kmock.resource("v1/pods")


class Api:
    """The API, served by a thread; tests change its objects as controllers of a cluster do."""

    def __init__(self, kubeconfig):
        self.kubeconfig = kubeconfig
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    async def _serve(self):
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        async with kmock.KubernetesEmulator() as self.server, kmock.Server(self.server) as http:
            for resource in (JOBS, RUNTIMES, SERVICES, EXPERIMENTS, PODS):
                self.server.resources[resource] = {}
            # As the client asks for it, and as an API server answers, too.
            self.server["get /version/"] << {"major": "1", "minor": "33"}
            self._write_kubeconfig(str(http.url).rstrip("/"))
            self._ready.set()
            await self._end.wait()

    def _write_kubeconfig(self, url):
        names = {"cluster": "mock", "user": "tester", "namespace": NAMESPACE}
        self.kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "mock",
                    "contexts": [{"name": "mock", "context": names}],
                    "clusters": [{"name": "mock", "cluster": {"server": url}}],
                    "users": [{"name": "tester", "user": {"token": "t"}}],
                }
            )
        )

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(10), "the API has not started"
        return self

    def __exit__(self, *error):
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)

    def requests(self, method, resource):
        """What was asked for, oldest first."""
        return list(self.server[resource, method])

    def job(self, name):
        """A TrainJob as it is now."""
        return self.server.objects[JOBS, NAMESPACE, name]

    def condition(self, name, kind, reason="", message=""):
        """Let a TrainJob come to a condition, as Kubeflow Trainer does."""
        condition = {"type": kind, "status": "True", "reason": reason, "message": message}
        self.job(name).patch({"status": {"conditions": [condition]}})

    def pod(self, name, index=0, phase="Running", created="2026-01-01T00:00:00Z", **status):
        """Let there be a pod of a job, or let it change, as JobSet and a kubelet do."""
        key = (PODS, NAMESPACE, name)
        pod = {
            "metadata": {
                "name": name,
                "namespace": NAMESPACE,
                "creationTimestamp": created,
                "labels": {"batch.kubernetes.io/job-completion-index": str(index)},
            },
            "spec": {"containers": [{"name": "node"}]},
            "status": {"phase": phase, **status},
        }
        if key in self.server.objects:
            self.server.objects[key].patch(pod)
        else:
            self.server.objects[key] = pod

    def log(self, pod, *lines):
        """Let a pod have printed lines; one that is callable is something that happens then."""
        stream = [line if callable(line) else f"{line}\n".encode() for line in lines]
        self.server[f"get /api/v1/namespaces/{NAMESPACE}/pods/{pod}/log"] << tuple(stream)

    def refuse(self, method, resource, status, reason, message, times=1):
        """Answer the next requests with an error."""
        error = kmock.KubernetesError(status=status, reason=reason, message=message)
        self.server[resource, method][:times] << error

    def refuse_log(self, pod, message):
        """Answer requests for a log with an error."""
        error = kmock.KubernetesError(status=403, reason="Forbidden", message=message)
        self.server[f"get /api/v1/namespaces/{NAMESPACE}/pods/{pod}/log"] << error


def terminated(reason, exit_code):
    """Status of a pod whose container has ended."""
    ended = {"reason": reason, "exitCode": exit_code}
    return _container({"terminated": ended})


def waiting(reason, message):
    """Status of a pod whose container cannot start."""
    return _container({"waiting": {"reason": reason, "message": message}})


def _container(state):
    about = {"image": "i", "imageID": "", "ready": False, "restartCount": 0}
    return {"containerStatuses": [{"name": "node", "state": state, **about}]}
