import json
import math
import os
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.util import event_pb2

from gb_keras.baselines import OnlineLoss
from gb_keras.data.pipeline import load_split
from gb_keras.stages import checkpoints, methods
from gb_keras.stages.evaluate import evaluate
from gb_keras.stages.prepare import prepare
from gb_keras.stages.train import train

# `gb_keras.stages.train` the module, whose name the function has taken.
train_stage = sys.modules["gb_keras.stages.train"]

# Its runs are shared by its tests, so one worker takes them all.
pytestmark = pytest.mark.xdist_group("train")

SHORT = {"epochs": 1, "batch_size": 64, "verbose": 0}


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """About 300 images of 8 x 8 pixels, 10 classes, a long tail."""
    folder = tmp_path_factory.mktemp("digits") / "data"
    prepare("digits", folder, long_tail_factor=50)
    return folder


@pytest.fixture(scope="session")
def run(digits, tmp_path_factory):
    """An uninterrupted run of 4 epochs, and its summary."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    summary = train(digits, folder, epochs=4, batch_size=16, seed=3, verbose=0)
    return folder, summary


def state(folder):
    """All that a saved model holds: weights, optimizer, statistic."""
    model = keras.models.load_model(folder / "model.keras")
    variables = [*model.variables, *model.optimizer.variables]
    if hasattr(model, "gradient_density"):
        variables += model.gradient_density.variables
    if isinstance(model.loss, OnlineLoss):
        variables += [getattr(model.loss, name) for name in model.loss.get_state()]
    return [variable.numpy() for variable in variables]


def assert_same_result(folder, other, with_density=True):
    for name in ("history.json", "history.csv"):
        assert (folder / name).read_text() == (other / name).read_text()
    if with_density:
        one, two = (
            json.loads((each / "gradient_density.json").read_text()) for each in (folder, other)
        )
        assert (one["steps"], one["density"]) == (two["steps"], two["density"])
        # Weights are watched anew where a run is resumed, but known of the same norms.
        known_one, known_two = (
            [[weight is not None for weight in step] for step in each["weights"]]
            for each in (one, two)
        )
        assert known_one == known_two
    for a, b in zip(state(folder), state(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_run_folder_holds_what_the_contract_says(digits, run):
    folder, summary = run
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "model.keras",
        "config.json",
        "gradient_density.json",
        "history.json",
        "history.csv",
        "logs",
    }
    history = json.loads((folder / "history.json").read_text())
    assert len(history["base_loss"]) == 4
    for name in ("loss", "accuracy", "balanced_accuracy"):
        assert len(history[name]) == len(history[f"val_{name}"]) == 4
    table = pd.read_csv(folder / "history.csv")
    assert list(table["epoch"]) == [1, 2, 3, 4]
    np.testing.assert_allclose(table["val_loss"], history["val_loss"])
    config = json.loads((folder / "config.json").read_text())
    manifest = json.loads((digits / "manifest.json").read_text())
    assert config["loss"] == "gradient_balanced"
    assert config["batch_size"] == 16
    assert config["data"] == "digits"
    assert config["classes"] == manifest["classes"]
    assert config["train_class_counts"] == manifest["splits"]["train"]["class_counts"]
    assert config["num_classes"] == 10
    assert config["input_shape"] == [8, 8, 1]
    assert {"gb-keras", "tensorflow", "keras", "python"} <= set(config["versions"])
    assert summary["final"] == {name: values[-1] for name, values in history.items()}
    best = summary["best_epoch"] - 1
    assert history["val_balanced_accuracy"][best] == max(history["val_balanced_accuracy"])
    assert summary["resumed_at_epoch"] is None
    for split in ("train", "validation"):
        assert list((folder / "logs" / split).glob("events.out.tfevents.*"))


def test_saved_model_gives_the_logits_that_validation_saw(digits, run):
    folder, summary = run
    model = keras.models.load_model(folder / "model.keras")
    images, labels = next(iter(load_split(digits, "validation", batch_size=1000)))
    logits = model(images)
    assert logits.dtype == tf.float32
    accuracy = np.mean(np.argmax(logits, axis=1) == labels)
    assert accuracy == pytest.approx(summary["final"]["val_accuracy"])
    # It goes on counting classes: the statistic came with the model.
    counts = json.loads((folder / "config.json").read_text())["train_class_counts"]
    np.testing.assert_array_equal(model.gradient_density.class_counts, 4 * np.array(counts))


def test_config_repeats_the_run(digits, run, tmp_path):
    folder, _ = run
    config = json.loads((folder / "config.json").read_text())
    options = {
        name: config[name]
        for name in train.__kwdefaults__
        if name not in ("resume", "verbose", "checkpoint_steps", "callbacks")
    }
    train(config["data_dir"], tmp_path / "again", **options, verbose=0)
    assert_same_result(folder, tmp_path / "again")


def interrupted(monkeypatch, after_epoch, *arguments, **options):
    """Train until the checkpoint of an epoch is written, then raise as Ctrl-C does."""
    save = checkpoints.EpochCheckpoint.on_epoch_end

    def save_and_interrupt(self, epoch, logs=None):
        save(self, epoch, logs)
        if epoch + 1 == after_epoch:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.EpochCheckpoint, "on_epoch_end", save_and_interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(*arguments, **options)


@pytest.mark.parametrize(
    ("loss", "dtype_policy", "after_epoch", "augmentation"),
    [
        ("ldam_drw", "float32", 2, []),
        ("gradient_balanced", "mixed_float16", 3, []),
        ("gradient_balanced", "float32", 1, ["crop", "flip", "mixup"]),
        ("equalization_v2", "float32", 1, []),
        ("square_root_resampling", "float32", 2, []),
    ],
)
def test_resumed_run_equals_an_uninterrupted_one(
    digits, tmp_path, monkeypatch, loss, dtype_policy, after_epoch, augmentation
):
    options = {
        "loss": loss,
        "augmentation": augmentation,
        "dtype_policy": dtype_policy,
        "epochs": 3,
        "optimizer": "sgd",
        "schedule": "step",
        "verbose": 0,
    }
    train(digits, tmp_path / "whole", **options)
    interrupted(monkeypatch, after_epoch, digits, tmp_path / "resumed", **options)
    assert not (tmp_path / "resumed" / "model.keras").exists()
    # What a killed process may leave beside the last whole epoch.
    (tmp_path / "resumed" / "checkpoints" / ".epoch-0009.partial").mkdir()
    summary = train(digits, tmp_path / "resumed", **options, resume=True)
    assert summary["resumed_at_epoch"] == after_epoch
    assert summary["epochs"] == 3
    # A plain model has no statistic to save: its observation begins anew where it is resumed.
    with_density = loss != "square_root_resampling"
    assert_same_result(tmp_path / "resumed", tmp_path / "whole", with_density)
    assert not (tmp_path / "resumed" / "checkpoints").exists()


def test_run_killed_in_an_epoch_goes_on_as_if_it_had_not_been(digits, run, tmp_path):
    folder, _ = run
    options = {"epochs": 4, "batch_size": 16, "seed": 3, "verbose": 0}
    program = (
        "from gb_keras.stages.train import train\n"
        f"train({str(digits)!r}, {str(tmp_path / 'run')!r}, **{options!r})"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, env=os.environ
    )
    deadline = time.monotonic() + 120
    checkpoint = tmp_path / "run" / "checkpoints" / "epoch-0002"
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors
    assert not (tmp_path / "run" / "model.keras").exists()
    summary = train(digits, tmp_path / "run", **options, resume=True)
    assert summary["resumed_at_epoch"] in (2, 3)
    assert_same_result(tmp_path / "run", folder)


@pytest.mark.parametrize("augmentation", [[], ["crop", "mixup"]])
def test_run_told_to_end_within_an_epoch_goes_on_at_the_next_step(digits, tmp_path, augmentation):
    # Both epochs of the first phase, and half of the second phase's first.
    options = {"epochs": 3, "freeze_epochs": 1, "batch_size": 16, "augmentation": augmentation}
    train(digits, tmp_path / "whole", **options, verbose=0)
    program = (
        "import os, signal\n"
        "import keras\n"
        "import gb_keras.stages.train\n"
        "import sys\n"
        "stage = sys.modules['gb_keras.stages.train']\n"
        "class Told(stage.EpochCheckpoint):\n"
        "    def on_train_batch_begin(self, batch, logs=None):\n"
        "        if (self.num_epochs, batch) == (1, 5):\n"
        "            os.kill(os.getpid(), signal.SIGTERM)\n"
        "stage.EpochCheckpoint = Told\n"
        f"stage.train({str(digits)!r}, {str(tmp_path / 'run')!r}, **{options!r}, verbose=0)"
    )
    process = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    assert process.returncode == 143, process.stderr
    folders = {path.name for path in (tmp_path / "run/checkpoints").glob("epoch-*")}
    assert folders == {"epoch-0001", "epoch-0001-step-00000006"}
    summary = train(digits, tmp_path / "run", **options, verbose=0, resume=True)
    assert summary["resumed_at_epoch"] == 1
    # What is watched beside the training counts anew.
    assert_same_result(tmp_path / "run", tmp_path / "whole", with_density=False)
    events = tf.data.TFRecordDataset(
        sorted(map(str, (tmp_path / "run/logs/train").glob("events.out*")))
    )
    steps = [
        event.step
        for event in map(event_pb2.Event.FromString, events.as_numpy_iterator())
        for value in event.summary.value
        if value.tag == "epoch_loss"
    ]
    assert steps == [0, 1, 2]


def test_resume_starts_a_new_folder_and_prints_a_summary(digits, tmp_path, capfd):
    summary = train(digits, tmp_path / "run", epochs=1, resume=True, verbose=2)
    assert summary["resumed_at_epoch"] is None
    assert (tmp_path / "run" / "model.keras").exists()
    output = capfd.readouterr().out
    assert "gradient_balanced on digits (small_cnn)" in output
    assert "val_balanced_accuracy" in output


def test_nothing_is_overwritten(digits, run, tmp_path):
    folder, summary = run
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    options = {"epochs": 4, "batch_size": 16, "seed": 3, "verbose": 0}
    with pytest.raises(FileExistsError, match="finished run"):
        train(digits, folder, **options)
    with pytest.raises(ValueError, match=r"options that the finished run .* seed=4, was 3"):
        train(digits, folder, **{**options, "seed": 4}, resume=True)
    # A job that was ended in its last instant is started again, and has done what it should.
    again = train(digits, folder, **options, resume=True)
    assert again["final"] == summary["final"]
    assert again["resumed_at_epoch"] == summary["epochs"]
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    (tmp_path / "notes.txt").write_text("mine")
    for resume in (False, True):
        with pytest.raises(FileExistsError, match="empty or new folder"):
            train(digits, tmp_path, **SHORT, resume=resume)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_unfinished_run_asks_for_resume_and_the_same_options(digits, tmp_path, monkeypatch):
    options = {"epochs": 2, "verbose": 0}
    interrupted(monkeypatch, 1, digits, tmp_path / "run", **options)
    with pytest.raises(FileExistsError, match=r"unfinished run.*resume=True"):
        train(digits, tmp_path / "run", **options)
    with pytest.raises(ValueError, match=r"loss='focal', was 'gradient_balanced'; seed=1, was 0"):
        train(digits, tmp_path / "run", **options, loss="focal", seed=1, resume=True)
    other = tmp_path / "other"
    prepare("digits", other, long_tail_factor=20)
    with pytest.raises(ValueError, match=r"train_class_counts=.*was"):
        train(other, tmp_path / "run", **options, resume=True)


@pytest.mark.parametrize("loss", [name for name in methods.names() if name != "gradient_balanced"])
def test_every_other_loss_trains_and_reloads(digits, tmp_path, loss):
    train(digits, tmp_path / "run", loss=loss, **SHORT)
    model = keras.models.load_model(tmp_path / "run" / "model.keras")
    images, labels = next(iter(load_split(digits, "validation", batch_size=1000)))
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    again = model.evaluate(images, labels, batch_size=64, return_dict=True, verbose=0)
    assert again["loss"] == pytest.approx(history["val_loss"][0], rel=1e-4)
    assert again["balanced_accuracy"] == pytest.approx(history["val_balanced_accuracy"][0])


SOFT_LABEL_LOSSES = (
    "cross_entropy",
    "label_smoothing",
    "class_balanced",
    "square_root_resampling",
    "logit_adjustment",
    "ghm_c",
    "gradient_balanced",
)


@pytest.mark.parametrize("loss", SOFT_LABEL_LOSSES)
def test_losses_of_soft_labels_train_on_blended_images(digits, tmp_path, loss):
    options = {"loss": loss, "augmentation": ["mixup", "cutmix"], **SHORT}
    train(digits, tmp_path / "run", **options)
    model = keras.models.load_model(tmp_path / "run" / "model.keras")
    validation = load_split(digits, "validation", batch_size=1000, one_hot=True)
    images, labels = next(iter(validation))
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    again = model.evaluate(images, labels, batch_size=64, return_dict=True, verbose=0)
    assert again["loss"] == pytest.approx(history["val_loss"][0], rel=1e-4)
    assert again["accuracy"] == pytest.approx(history["val_accuracy"][0])
    assert again["balanced_accuracy"] == pytest.approx(history["val_balanced_accuracy"][0])
    result = evaluate(tmp_path / "run", digits, tmp_path / "evaluation", split="validation")
    assert result["metrics"]["accuracy"] == pytest.approx(history["val_accuracy"][0])


@pytest.mark.parametrize("loss", sorted({*methods.names()} - {*SOFT_LABEL_LOSSES}))
def test_losses_of_one_label_refuse_blended_images(digits, tmp_path, loss):
    with pytest.raises(ValueError, match="Expected a loss that takes soft labels, one of cross_en"):
        train(digits, tmp_path / "run", loss=loss, augmentation=["cutmix"], **SHORT)
    assert not (tmp_path / "run").exists()


def test_square_root_resampling_draws_classes_by_the_root_of_their_count(
    digits, tmp_path, monkeypatch
):
    streams = []

    def load(data_dir, split, **options):
        streams.append(load_split(data_dir, split, **options))
        return streams[-1]

    monkeypatch.setattr(train_stage, "load_split", load)
    train(digits, tmp_path / "run", loss="square_root_resampling", **SHORT)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    counts = np.array(config["train_class_counts"])
    # As many steps as without resampling.
    steps = math.ceil(counts.sum() / SHORT["batch_size"])
    labels = np.concatenate([labels for _, labels in streams[0].take(steps).as_numpy_iterator()])
    wanted = counts.sum() * np.sqrt(counts) / np.sqrt(counts).sum()
    assert len(labels) == counts.sum()
    assert (np.abs(np.bincount(labels, minlength=10) - wanted) < 1).all()


def test_the_loss_of_a_run_has_counted_each_epoch_once(digits, tmp_path):
    train(digits, tmp_path / "run", loss="seesaw", epochs=2, batch_size=64, verbose=0)
    counts = json.loads((tmp_path / "run" / "config.json").read_text())["train_class_counts"]
    loss = keras.models.load_model(tmp_path / "run" / "model.keras").loss
    np.testing.assert_array_equal(loss.class_counts, 2 * np.array(counts))


def test_mixed_precision_xla_and_another_size(digits, tmp_path):
    # All of an epoch in one batch: XLA compiles for each shape anew.
    options = {**SHORT, "batch_size": 512, "image_size": 9}
    train(digits, tmp_path / "run", dtype_policy="mixed_float16", jit_compile=True, **options)
    model = keras.models.load_model(tmp_path / "run" / "model.keras")
    assert {x.compute_dtype for x in model.layers if "conv" in x.name} == {"float16"}
    assert model(np.zeros((1, 9, 9, 1), "float32")).dtype == tf.float32
    assert keras.config.dtype_policy().name == "float32"


def test_images_of_several_sizes_take_the_backbones_own(tmp_path):
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for index in range(10):
            pixels = rng.integers(0, 255, (10 + index, 12, 3), dtype="uint8")
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{index}.png")
    prepare(f"folder:{tmp_path / 'photos'}", tmp_path / "data")
    train(tmp_path / "data", tmp_path / "run", **SHORT)
    model = keras.models.load_model(tmp_path / "run" / "model.keras")
    assert model.input_shape == (None, 32, 32, 3)


def test_a_loss_that_is_not_finite_ends_the_run_and_saves_no_model(digits, tmp_path):
    with pytest.raises(FloatingPointError, match=r"epoch 1: .*loss=(nan|inf).*learning_rate"):
        train(digits, tmp_path / "run", optimizer="sgd", learning_rate=1e38, epochs=3, verbose=0)
    assert not (tmp_path / "run" / "model.keras").exists()
    assert not list((tmp_path / "run" / "checkpoints").glob("epoch-*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "resnet32x"}, "Did you mean 'resnet32'"),
        ({"loss": "crossentropy"}, "Did you mean 'cross_entropy'"),
        ({"optimizer": "adamn"}, "optimizer to be one of adam, adamw, sgd"),
        ({"schedule": "linear"}, "schedule to be one of constant, cosine, step"),
        ({"dtype_policy": "float8"}, "dtype_policy to be one of"),
        ({"epochs": 0}, "epochs to be an integer of at least 1"),
        ({"checkpoint_steps": 0}, "checkpoint_steps to be an integer of at least 1"),
        ({"epochs": True}, "epochs to be an integer"),
        ({"batch_size": 1.5}, "batch_size to be an integer"),
        ({"seed": -1}, "seed to be an integer of at least 0"),
        ({"freeze_epochs": -1}, "freeze_epochs to be an integer of at least 0"),
        ({"freeze_epochs": 20}, "freeze_epochs to be less than epochs"),
        ({"image_size": 0}, "image_size to be an integer of at least 1"),
        ({"learning_rate": 0.0}, "learning_rate to be a finite number above 0"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"learning_rate": float("inf")}, "learning_rate"),
        ({"verbose": 3}, "verbose to be"),
        ({"log_dir": __file__}, "log_dir to be a folder"),
        ({"augmentation": ["turn"]}, "augmentation to be one of crop"),
        ({"augmentation": ["flip", "flip"]}, "each augmentation once"),
    ],
)
def test_arguments_are_checked_before_anything_is_read_or_written(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        train(tmp_path / "no-data", tmp_path / "run", **options)
    assert not list(tmp_path.iterdir())


def test_missing_data_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="gb-keras prepare"):
        train(tmp_path / "no-data", tmp_path / "run")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("backbone", ["vgg16", "inception_v3", "resnet50"])
def test_large_backbones_from_images_to_an_exported_model(digits, tmp_path, backbone):
    run_dir = tmp_path / "run"
    train(digits, run_dir, backbone=backbone, epochs=1, batch_size=32, verbose=0)
    evaluate(run_dir, digits, tmp_path / "evaluation")
    metrics = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())["metrics"]
    assert 0 <= metrics["balanced_accuracy"] <= 1
    model = keras.models.load_model(run_dir / "model.keras")
    assert np.sum(model.gradient_density.class_counts) > 0
    model.export(tmp_path / "exported", verbose=False)
    x = np.random.default_rng(0).uniform(0, 255, (4, 8, 8, 1)).astype("float32")
    exported = tf.saved_model.load(tmp_path / "exported")
    np.testing.assert_allclose(exported.serve(x), model(x), rtol=1e-3, atol=1e-4)


def train_until(monkeypatch, last_epoch, *args, **options):
    """Train, and be interrupted after an epoch."""

    class Stop(checkpoints.EpochCheckpoint):
        def on_epoch_end(self, epoch, logs=None):
            super().on_epoch_end(epoch, logs)
            if epoch + 1 == last_epoch:
                raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(train_stage, "EpochCheckpoint", Stop)
        with pytest.raises(KeyboardInterrupt):
            train(*args, **options)


FROZEN = {"epochs": 3, "freeze_epochs": 1, "batch_size": 64, "seed": 1, "verbose": 0}


class TestFreezing:
    def test_features_stay_while_the_classifier_learns(self, digits, tmp_path, monkeypatch):
        weights = {}

        class Keep(checkpoints.EpochCheckpoint):
            def on_train_begin(self, logs=None):
                weights.setdefault("start", self.model.get_weights())

            def on_epoch_end(self, epoch, logs=None):
                super().on_epoch_end(epoch, logs)
                weights[epoch] = self.model.get_weights()

        monkeypatch.setattr(train_stage, "EpochCheckpoint", Keep)
        train(digits, tmp_path / "run", **FROZEN)
        same = [np.array_equal(a, b) for a, b in zip(weights["start"], weights[0], strict=True)]
        assert same == [True] * (len(same) - 2) + [False, False]
        assert not any(np.array_equal(a, b) for a, b in zip(weights[0], weights[1], strict=True))
        # The statistic has seen every epoch.
        model = keras.models.load_model(tmp_path / "run" / "model.keras")
        config = json.loads((tmp_path / "run" / "config.json").read_text())
        counts = np.multiply(config["train_class_counts"], 3)
        np.testing.assert_array_equal(model.gradient_density.class_counts, counts)
        assert all(variable.trainable for variable in model.trainable_variables)
        assert len(model.trainable_variables) > 2

    @pytest.mark.parametrize("stopped_after", [1, 2])
    @pytest.mark.parametrize("loss", ["gradient_balanced", "seesaw", "ldam_drw"])
    def test_resumed_ends_as_uninterrupted(
        self, digits, tmp_path, monkeypatch, stopped_after, loss
    ):
        options = {**FROZEN, "loss": loss}
        train(digits, tmp_path / "whole", **options)

        train_until(monkeypatch, stopped_after, digits, tmp_path / "stopped", **options)
        train(digits, tmp_path / "stopped", **options, resume=True)
        assert_same_result(tmp_path / "whole", tmp_path / "stopped", with_density=False)


def test_dropout_goes_on_with_its_random_numbers(digits, tmp_path, monkeypatch):
    own = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5, seed=3),
            keras.layers.Dense(4),
        ]
    )
    own.save(tmp_path / "own.keras")
    options = {"backbone": tmp_path / "own.keras", "epochs": 2, "batch_size": 64, "verbose": 0}
    train(digits, tmp_path / "whole", **options)
    train_until(monkeypatch, 1, digits, tmp_path / "stopped", **options)
    train(digits, tmp_path / "stopped", **options, resume=True)
    assert_same_result(tmp_path / "whole", tmp_path / "stopped", with_density=False)


def test_an_earlier_run_goes_on_with_more_classes(run, tmp_path, capsys):
    """From ten digits to three of them, in another order, and a new class."""
    earlier, _ = run
    rng = np.random.default_rng(0)
    for name in ("zero", "7", "2", "5"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for index in range(12):
            image = Image.fromarray(rng.integers(0, 255, (8, 8), "uint8"))
            image.save(tmp_path / "images" / name / f"{index}.png")
    prepare(f"folder:{tmp_path / 'images'}", tmp_path / "data")
    config = json.loads((earlier / "config.json").read_text())
    options = {"backbone": earlier, "epochs": 1, "learning_rate": 1e-30, "verbose": 2}
    train(tmp_path / "data", tmp_path / "run", **options)
    assert "3 of 4 classes are known" in capsys.readouterr().out
    old, new = (
        keras.models.load_model(folder / "model.keras") for folder in (earlier, tmp_path / "run")
    )
    classes = json.loads((tmp_path / "run" / "config.json").read_text())["classes"]
    for index, name in enumerate(classes):
        if name == "zero":
            continue
        source = config["classes"].index(name)
        np.testing.assert_allclose(
            new.get_layer("logits").kernel[:, index], old.get_layer("logits").kernel[:, source]
        )
        seen = new.gradient_density.class_counts[index] - old.gradient_density.class_counts[source]
        assert 0 < seen <= 12
    assert 0 < new.gradient_density.class_counts[classes.index("zero")] <= 12
    assert new.gradient_density.num_updates > old.gradient_density.num_updates


def test_a_run_without_its_weights_has_not_begun(digits, tmp_path):
    options = {"backbone": "mobilenet", "epochs": 1, "verbose": 0}
    with pytest.raises(FileNotFoundError, match="'imagenet' or a file"):
        train(digits, tmp_path / "run", **options, weights=tmp_path / "none.weights.h5")
    assert not (tmp_path / "run").exists()
    source = keras.applications.MobileNet(include_top=False, weights=None)
    source.save_weights(tmp_path / "notop.weights.h5")
    train(digits, tmp_path / "run", **options, weights=tmp_path / "notop.weights.h5")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["weights"] == str(tmp_path / "notop.weights.h5")


def test_one_training_at_a_time_works_in_a_folder(digits, tmp_path):
    refused = []

    def other(epoch, logs):
        with pytest.raises(BlockingIOError, match="no other training works in") as error:
            train(digits, tmp_path / "run", resume=True, **SHORT)
        refused.append(str(error.value))

    callback = keras.callbacks.LambdaCallback(on_epoch_end=other)
    train(digits, tmp_path / "run", callbacks=[callback], **SHORT)
    assert len(refused) == 1
