"""A cluster of its own for each test."""

import pytest

from tests.cluster.api import Api


@pytest.fixture
def api(tmp_path, monkeypatch):
    kubeconfig = tmp_path / "kubeconfig"
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    with Api(kubeconfig) as running:
        yield running
