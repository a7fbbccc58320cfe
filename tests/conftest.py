"""Shared set-up: quiet TensorFlow, and two virtual CPU devices made before it initialises."""

import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import pytest
import rich
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration(), tf.config.LogicalDeviceConfiguration()],
)


def pytest_collection_finish():
    """Modules and collected tests stay to the end: the garbage collector need not visit them.

    A collection takes a quarter of a second in a process with TensorFlow, and there are thousands.
    """
    gc.collect()
    gc.freeze()


def pytest_sessionfinish():
    """Hypothesis, which pytest imports for its summary if no test has, asks who refers to what."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def fresh_keras():
    """Each test starts with Keras's global state as in a new process, and the same seed."""
    keras.utils.clear_session(free_memory=False)
    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(autouse=True)
def fresh_console(monkeypatch):
    """Rich's own console keeps the width that it was made with, maybe in another test."""
    monkeypatch.setattr(rich, "_console", None)


@pytest.fixture(scope="session")
def job(tmp_path_factory):
    """Folder and options of a training that tests interrupt or distribute."""
    from tests import training_job

    folder = tmp_path_factory.mktemp("job")
    return folder, training_job.make(folder)


@pytest.fixture(scope="session")
def one_process(job):
    """The run of that training in one process that is left alone."""
    from gb_keras.stages.train import train

    folder, options = job
    train(folder / "data", folder / "alone", **{**options, "verbose": 0}, strategy="none")
    return folder / "alone"


@pytest.fixture
def api(tmp_path, monkeypatch):
    """The API of a Kubernetes cluster, which the kubeconfig names."""
    # Here, as pytest takes a `conftest.py` of the folder `cluster` for this one.
    from tests.cluster.api import Api

    kubeconfig = tmp_path / "kubeconfig"
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    with Api(kubeconfig) as running:
        yield running
