"""The client in a pod: address, token and certificate as Kubernetes gives them to every pod."""

import asyncio
import datetime
import ipaddress
import ssl
import threading
import types
import urllib.parse

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from kubernetes.config import incluster_config

from gb_keras.cluster import client, manifests
from gb_keras.cluster.client import Cluster
from gb_keras.cluster.errors import ClusterError
from gb_keras.cluster.job import TrainingJob
from tests.cluster.api import JOBS

JOB = manifests.train_job(TrainingJob("digits", "gb-keras:0.1.0", ()))


def make_certificate(folder):
    """A certificate of 127.0.0.1 that it has signed itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kubernetes")])
    start = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "ca.crt").write_bytes(certificate.public_bytes(pem))
    (folder / "key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.crt", folder / "key")
    return context


class Encrypted:
    """What passes everything on to an address, and speaks TLS itself."""

    def __init__(self, host, port, context):
        self._target, self._context = (host, port), context
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    async def _serve(self):
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0, ssl=self._context)
        async with server:
            self.port = server.sockets[0].getsockname()[1]
            self._ready.set()
            await self._end.wait()

    async def _connect(self, reader, writer):
        inner_reader, inner_writer = await asyncio.open_connection(*self._target)

        async def pass_on(source, target):
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
            target.close()

        await asyncio.gather(pass_on(reader, inner_writer), pass_on(inner_reader, writer))

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *error):
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)


@pytest.fixture
def pod(api, tmp_path, monkeypatch):
    """This process as in a pod of the namespace `team`; the folder of its service account."""
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    (folder / "token").write_text("of-the-pod")
    context = make_certificate(folder)
    (cluster,) = yaml.safe_load(api.kubeconfig.read_text())["clusters"]
    address = urllib.parse.urlparse(cluster["cluster"]["server"])
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    # Kubernetes mounts them in a folder that only the root of this machine could make.
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(folder / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(folder / "ca.crt"))
    monkeypatch.setattr(client, "is_running_in_k8s", lambda: True)
    monkeypatch.setattr(client, "get_default_target_namespace", lambda: "team")
    with Encrypted(address.hostname, address.port, context) as encrypted:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(encrypted.port))
        yield folder


def test_a_pod_asks_as_its_service_account_in_its_namespace(api, pod, monkeypatch):
    cluster = Cluster()
    assert cluster.namespace == "team"
    cluster.create(JOB)
    (request,) = api.requests("post", JOBS)
    assert request.namespace == "team"
    assert request.headers["Authorization"].lower() == "bearer of-the-pod"
    # Kubernetes gives the pod another token each hour, long before a training is over.
    (pod / "token").write_text("renewed")

    class Later(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return super().now(tz) + datetime.timedelta(hours=1)

    clock = types.SimpleNamespace(datetime=Later, timedelta=datetime.timedelta)
    monkeypatch.setattr(incluster_config, "datetime", clock)
    cluster.train_job("digits")
    request = api.requests("get", JOBS)[-1]
    assert request.headers["Authorization"].lower() == "bearer renewed"


def test_a_cluster_that_is_another_than_the_certificate_says_is_not_trusted(api, pod):
    make_certificate(pod)
    with pytest.raises(ClusterError, match=r"Could not reach the cluster.*CERTIFICATE_VERIFY"):
        Cluster()
    assert not api.requests("post", JOBS)
