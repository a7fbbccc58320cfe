"""Several workers, as real processes: they learn what one learns, and fail and resume as one."""

import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from benchmarks import loopback
from gb_keras import distribution, keras_multi_worker
from gb_keras.stages.prepare import prepare
from gb_keras.stages.train import train
from tests import worker_program

# Its processes are shared by its tests, so one worker of pytest takes them all.
pytestmark = pytest.mark.xdist_group("workers")


PROGRAM = "tests.worker_program"
MODELS = ("plain", "seesaw", "balanced")


def run(num_workers, *arguments):
    """Run the program in as many processes, to its good end."""
    for code, output in loopback.ended(loopback.start(num_workers, PROGRAM, *arguments)):
        assert code == 0, output


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process has learned."""
    folder = tmp_path_factory.mktemp("alone")
    found = {}
    for name in MODELS:
        found |= worker_program.results(tf.distribute.get_strategy(), name, folder)[1]
    return found, folder


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The folder of what two workers have learned."""
    folder = tmp_path_factory.mktemp("two")
    run(2, "models", folder, *MODELS)
    return folder


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """The same of three, whose shares of a batch are never even."""
    folder = tmp_path_factory.mktemp("three")
    run(3, "models", folder, "balanced")
    return folder


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


def test_three_workers_have_what_one_process_has(alone, three):
    for worker in range(3):
        found = np.load(three / f"results-{worker}.npz")
        assert {"balanced weights 0", "balanced histogram", "balanced predictions"} <= set(found)
        for name, values in found.items():
            np.testing.assert_allclose(values, alone[0][name], rtol=1e-4, atol=2e-5, err_msg=name)


def test_the_model_that_the_chief_saves_is_that_of_one_process(alone, two):
    for name in MODELS:
        one, several = (
            keras.models.load_model(folder / f"{name}-0.keras") for folder in (alone[1], two)
        )
        x = worker_program.FEATURES
        np.testing.assert_allclose(several(x), one(x), rtol=1e-4, atol=2e-5)
    np.testing.assert_allclose(
        several.gradient_density.histogram, one.gradient_density.histogram, rtol=1e-4, atol=2e-5
    )


def test_workers_know_of_each_other(two, three):
    for folder, num_workers in ((two, 2), (three, 3)):
        for worker in range(num_workers):
            found = found_by(folder, worker)
            assert found["described"] == {
                "strategy": "multi-worker",
                "num_workers": num_workers,
                "num_replicas": num_workers,
                "worker": worker,
            }
            assert f"worker by worker: {list(range(num_workers))}" in found["disagreement"]


@pytest.mark.parametrize("half", ["_maybe_symbolic_build", "reduce_per_replica"])
def test_keras_still_needs_the_repair(two, half):
    """If this fails, Keras trains without: end the repair at this version, or remove it."""
    for worker in range(2):
        assert half in found_by(two, worker)["errors"]


def test_the_statistic_costs_two_collective_operations(two):
    """One of the class counts, which the margin needs, and one of all that follows from it."""
    classes, bins = worker_program.NUM_CLASSES, worker_program.BINS
    gradients = 6 * 8 + 8 + 8 * classes + classes
    # Histogram, its sums over rows and over bins; samples: active, clean, all.
    statistic = classes * bins + classes + bins + 3
    for worker in range(2):
        sizes = found_by(two, worker)["collectives"]
        # Whether a worker has more batches; logs: loss, accuracy, balanced accuracy, base loss.
        assert sizes["plain"] == [1, gradients, 3]
        assert sizes["balanced"] == [1, classes, statistic, gradients, 4]


@pytest.mark.parametrize("version", ["3.11.3", "3.16.0", "3.16.0.dev0", "4.0"])
def test_versions_that_are_not_known_are_left_alone(version):
    assert not keras_multi_worker.is_needed(version)
    assert keras_multi_worker.is_needed("3.12.0")
    assert keras_multi_worker.is_needed()


OPTIONS = {"epochs": 3, "batch_size": 32, "seed": 3, "verbose": 2}


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """Data, and the options of a run of a model without batch normalization."""
    folder = tmp_path_factory.mktemp("job")
    manifest = prepare("digits", folder / "data", long_tail_factor=50)
    # The last batch is neither full nor even.
    assert manifest["splits"]["train"]["num_examples"] % 32 % 2 == 1
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Rescaling(0.01)]
    own = keras.Sequential([*layers, keras.layers.Dense(16, "relu"), keras.layers.Dense(10)])
    own.save(folder / "own.keras")
    return folder, {**OPTIONS, "backbone": str(folder / "own.keras")}


@pytest.fixture(scope="module")
def one_process(job):
    folder, options = job
    train(folder / "data", folder / "alone", **{**options, "verbose": 0})
    return folder / "alone"


def train_with_two(folder, options, *killed):
    """How two processes ended that trained together."""
    arguments = ["train", folder / "data", folder / "run", json.dumps(options), *killed]
    return loopback.ended(loopback.start(2, PROGRAM, *arguments))


@pytest.fixture(scope="module")
def killed(job):
    """A run whose second worker is killed in its second epoch, and how the processes ended."""
    folder, options = job
    return folder / "run", train_with_two(folder, options, 1)


@pytest.fixture(scope="module")
def resumed(job, killed):
    """The same run, when both were started anew; and a copy of it before that."""
    folder, options = job
    shutil.copytree(folder / "run", folder / "copy")
    ends = train_with_two(folder, options | {"resume": True})
    assert [code for code, _ in ends] == [0, 0], ends
    return folder / "run", ends


def assert_same_run(folder, other):
    for name in ("history.json", "config.json"):
        assert (folder / name).exists()
    histories = [json.loads((each / "history.json").read_text()) for each in (folder, other)]
    assert set(histories[0]) == set(histories[1])
    for name, values in histories[1].items():
        assert len(values) == OPTIONS["epochs"]
        np.testing.assert_allclose(histories[0][name], values, rtol=1e-3, err_msg=name)
    one, two = (keras.models.load_model(each / "model.keras") for each in (folder, other))
    for a, b in zip(one.variables, two.variables, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4, err_msg=a.path)


def test_a_killed_worker_ends_the_others_with_an_error(killed):
    folder, ends = killed
    (code, output), (killed_code, _) = ends
    assert killed_code == -9
    assert code == 1, output
    assert "UnavailableError" in output or "Connection reset" in output, output
    assert not (folder / "model.keras").exists()
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["epoch-0001"]


def test_restarted_workers_end_as_one_process_that_was_not_interrupted(resumed, one_process):
    folder, ends = resumed
    assert_same_run(folder, one_process)
    assert "multi-worker: worker 1 of 2, 2 replicas in all" in ends[1][1]
    # The chief alone wrote, and of each file there is one for each of its two starts.
    assert "Epoch 2/3" in ends[0][1]
    assert "Epoch" not in ends[1][1]
    assert len(list((folder / "logs" / "train").iterdir())) == 2
    assert not list(folder.glob(".*"))
    assert not (folder / "checkpoints").exists()
    distribution_of_run = json.loads((folder / "config.json").read_text())["distribution"]
    assert distribution_of_run["num_workers"] == 2


def test_another_number_of_workers_goes_on(job, resumed, one_process):
    folder, options = job
    summary = train(
        folder / "data", folder / "copy", **{**options, "verbose": 0}, strategy="none", resume=True
    )
    assert summary["resumed_at_epoch"] == 1
    assert_same_run(folder / "copy", one_process)


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
