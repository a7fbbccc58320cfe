"""Several workers, as real processes: they learn what one learns."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from benchmarks import loopback
from gb_keras import distribution, keras_multi_worker
from gb_keras.stages.train import train
from tests import worker_program
from tests.training_job import assert_same_run

# Its processes are shared by its tests, so one worker of pytest takes them all.
pytestmark = pytest.mark.xdist_group("workers")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process has learned."""
    folder = tmp_path_factory.mktemp("alone")
    found = {}
    for name in worker_program.MODELS:
        found |= worker_program.results(tf.distribute.get_strategy(), name, folder)[1]
    return found, folder


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """Folder of what two workers have learned, three, and two of two devices each."""
    folder = tmp_path_factory.mktemp("together")
    program = [sys.executable, "-m", "tests.worker_program", folder]
    ended = subprocess.run(program, cwd=loopback.ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return folder


@pytest.fixture(scope="module")
def two(together):
    return together / "two"


def found_by(folder, worker):
    return json.loads((folder / f"found-{worker}.json").read_text())


def test_two_workers_have_what_one_process_has(alone, two):
    """Weights, history, evaluation, predictions, histogram, counts: with the same batches."""
    expected, _ = alone
    assert {"balanced weights 0", "balanced histogram", "plain history val_loss"} <= set(expected)
    for worker in range(2):
        found = np.load(two / f"results-{worker}.npz")
        assert set(found) == set(expected)
        for name, values in expected.items():
            # A norm on the edge of a bin would round to either side; there is none here.
            np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=2e-5, err_msg=name)
    active = np.bincount(worker_program.LABELS, worker_program.WEIGHTS > 0)
    np.testing.assert_array_equal(expected["balanced class_counts"], 2 * active)


@pytest.mark.parametrize(("name", "num_workers"), [("three", 3), ("devices", 2)])
def test_more_workers_or_devices_have_what_one_process_has(alone, together, name, num_workers):
    for worker in range(num_workers):
        found = np.load(together / name / f"results-{worker}.npz")
        assert {"balanced weights 0", "balanced histogram", "balanced predictions"} <= set(found)
        for key, values in found.items():
            np.testing.assert_allclose(values, alone[0][key], rtol=1e-4, atol=2e-5, err_msg=key)


def test_the_model_that_the_chief_saves_is_that_of_one_process(alone, two):
    for name in worker_program.MODELS:
        one, several = (
            keras.models.load_model(folder / f"{name}-0.keras") for folder in (alone[1], two)
        )
        x = worker_program.FEATURES
        np.testing.assert_allclose(several(x), one(x), rtol=1e-4, atol=2e-5)
    np.testing.assert_allclose(
        several.gradient_density.histogram, one.gradient_density.histogram, rtol=1e-4, atol=2e-5
    )


@pytest.mark.parametrize(
    ("name", "num_workers", "num_replicas"), [("two", 2, 2), ("three", 3, 3), ("devices", 2, 4)]
)
def test_workers_know_of_each_other(together, name, num_workers, num_replicas):
    for worker in range(num_workers):
        found = found_by(together / name, worker)
        assert found["described"] == {
            "strategy": "multi-worker",
            "num_workers": num_workers,
            "num_replicas": num_replicas,
            "worker": worker,
        }
        assert f"worker by worker: {list(range(num_workers))}" in found["disagreement"]


@pytest.mark.parametrize("half", ["_maybe_symbolic_build", "reduce_per_replica"])
def test_keras_still_needs_the_repair(two, half):
    """If this fails, Keras trains without: end the repair at this version, or remove it."""
    for worker in range(2):
        assert half in found_by(two, worker)["errors"]


@pytest.mark.parametrize("name", ["balanced", "watched"])
def test_the_statistic_costs_two_collective_operations(two, name):
    """One of the class counts, which the margin needs, and one of all that follows from it.

    While a callback watches what TensorBoard shows, there are no more.
    """
    classes, bins = worker_program.NUM_CLASSES, worker_program.BINS
    gradients = 4 * (6 * 8 + 8 + 8 * classes + classes)
    # Histogram, its sums over rows and over bins; trust by class; samples: active, clean, all.
    statistic = 4 * (classes * bins + classes + bins + classes + 3)
    for worker in range(2):
        num_bytes = found_by(two, worker)["collectives"]
        # Whether a worker has more batches; logs: loss, accuracy, balanced accuracy, base loss, and
        # whether a worker is to end.
        assert num_bytes["plain"] == [8, gradients, 4 * 4]
        assert num_bytes[name] == [8, 4 * classes, statistic, gradients, 4 * 5]


@pytest.mark.parametrize("version", ["3.11.3", "3.16.0", "3.16.0.dev0", "4.0"])
def test_versions_that_are_not_known_are_left_alone(version):
    assert not keras_multi_worker.is_needed(version)
    assert keras_multi_worker.is_needed("3.12.0")
    assert keras_multi_worker.is_needed()


def test_two_devices_of_one_process_have_what_one_has(job, alone, one_process, tmp_path):
    strategy = distribution.strategy("mirrored")
    _, found = worker_program.results(strategy, "balanced", tmp_path)
    for name, values in found.items():
        np.testing.assert_allclose(values, alone[0][name], rtol=1e-4, atol=2e-5, err_msg=name)
    folder, options = job
    train(folder / "data", tmp_path / "run", **{**options, "verbose": 0}, strategy="mirrored")
    assert_same_run(tmp_path / "run", one_process)


def test_an_empty_share_is_refused_where_it_would_spoil_normalization(job, tmp_path):
    folder, _ = job
    manifest = json.loads((folder / "data" / "manifest.json").read_text())
    batch_size = manifest["splits"]["train"]["num_examples"] - 1
    with pytest.raises(ValueError, match=r"image for each of the 2 replicas.*smallest batch has 1"):
        train(folder / "data", tmp_path / "run", batch_size=batch_size, strategy="mirrored")
    assert not (tmp_path / "run").exists()


def test_compilation_is_refused_where_xla_cannot(job, tmp_path):
    folder, _ = job
    with pytest.raises(ValueError, match=r"jit_compile=False.*mirrored: worker 0 of 1, 2 replicas"):
        train(folder / "data", tmp_path / "run", jit_compile=True, strategy="mirrored")
    assert not (tmp_path / "run").exists()


class TestStrategy:
    def test_none_without_workers_and_gpus(self, monkeypatch):
        monkeypatch.delenv("TF_CONFIG", raising=False)
        assert distribution.describe(distribution.strategy()).strategy == "none"

    def test_one_worker_is_none(self, monkeypatch):
        monkeypatch.setenv(
            "TF_CONFIG",
            '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}',
        )
        assert distribution.describe(distribution.strategy()).strategy == "none"

    def test_mirrored_is_one_object(self):
        one = distribution.strategy("mirrored")
        assert one is distribution.strategy("mirrored")
        assert distribution.describe(one).as_dict() == {
            "strategy": "mirrored",
            "num_workers": 1,
            "num_replicas": 2,
        }

    @pytest.mark.parametrize(
        "config", [None, "{}", '{"cluster": {"worker": ["a:1"]}}', '{"task": {"type": "worker"}}']
    )
    def test_several_workers_must_be_named(self, monkeypatch, config):
        monkeypatch.delenv("TF_CONFIG", raising=False)
        if config is not None:
            monkeypatch.setenv("TF_CONFIG", config)
        with pytest.raises(ValueError, match=r"TF_CONFIG to name the workers.*Set it in each"):
            distribution.strategy("multi-worker")

    def test_what_is_no_json_is_said(self, monkeypatch):
        monkeypatch.setenv("TF_CONFIG", "{cluster")
        with pytest.raises(ValueError, match="TF_CONFIG to be JSON"):
            distribution.strategy()

    def test_unknown_names_are_refused(self):
        with pytest.raises(ValueError, match="Did you mean 'multi-worker'"):
            distribution.strategy("multiworker")
