"""The published protocols: their data, networks and rows, and a whole run on mock data."""

import dataclasses
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from typer.testing import CliRunner

from benchmarks.learning import records
from benchmarks.learning.published import (
    augment,
    batches,
    labels,
    networks,
    protocols,
    rows,
    training_images,
    trial,
)
from benchmarks.learning.published.__main__ import app
from benchmarks.learning.published.optimizer import PenalisedSGD
from gb_keras.data.tfds_directory import no_protobuf_warnings
from gb_keras.stages import methods

PROTOCOLS = protocols.PROTOCOLS
MOCK_IMAGES = 40


@pytest.fixture
def mock_builder(tmp_path):
    """Makes builders of random images."""
    with no_protobuf_warnings(), tfds.testing.mock_data(num_examples=MOCK_IMAGES):
        yield lambda name: tfds.builder(name, data_dir=tmp_path / "tfds")


def a_list(builder, protocol, path):
    """A list of every second mock image, as its official file would name them."""
    feature = protocol.split_file.feature
    folder = "train/n01440764/" if protocol.data == "imagenet2012" else "train/"
    examples = training_images.encoded(builder, "train", feature).as_numpy_iterator()
    lines = [f"{folder}{each[feature].decode()} {each['label']}" for each in examples]
    path.write_text("\n".join(lines[::2]))
    return path


def facts_of(given):
    counts = np.unique(given, return_counts=True)[1]
    return protocols.Facts(int(counts.sum()), int(counts.max()), int(counts.min()))


@pytest.mark.parametrize("data", ["cifar10", "cifar100"])
@pytest.mark.parametrize("factor", [100, 50, 10])
def test_long_tails_are_those_of_the_papers(data, factor):
    num_classes, largest = (10, 5000) if data == "cifar10" else (100, 500)
    protocol = PROTOCOLS[f"{data}-lt-{factor}"]
    # The rule as Cao et al. have it in imbalance_cifar.py.
    expected = [
        int(largest * (1 / factor) ** (index / (num_classes - 1))) for index in range(num_classes)
    ]
    balanced = np.repeat(np.arange(num_classes), largest)
    chosen = protocol.relabel(balanced, num_classes, 0)
    kept = chosen[chosen >= 0]
    assert np.bincount(kept).tolist() == expected
    training_images.check(protocol.facts, kept, "the long tail")


def test_the_long_tails_that_everyone_quotes():
    assert PROTOCOLS["cifar100-lt-100"].facts == protocols.Facts(10847, 500, 5)
    assert PROTOCOLS["cifar10-lt-100"].facts == protocols.Facts(12406, 5000, 50)


def test_another_seed_keeps_other_images():
    balanced = np.repeat(np.arange(10), 100)
    first, again, other = (labels.long_tail(balanced, 10, seed, 10) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("percent", [20, 40, 60, 80])
def test_symmetric_noise_changes_its_share(percent):
    clean = np.repeat(np.arange(100), 50)
    noisy = PROTOCOLS[f"cifar100-symmetric-{percent}"].relabel(clean, 100, 0)
    assert (noisy != clean).mean() == pytest.approx(percent / 100)


def test_asymmetric_noise_of_cifar10_is_between_the_classes_of_the_paper():
    names = "airplane automobile bird cat deer dog frog horse ship truck".split()  # noqa: SIM905
    clean = np.repeat(np.arange(10), 50)
    noisy = PROTOCOLS["cifar10-asymmetric-40"].relabel(clean, 10, 0)
    changed = noisy != clean
    pairs = {
        (names[old], names[new]) for old, new in zip(clean[changed], noisy[changed], strict=True)
    }
    assert pairs == {
        ("truck", "automobile"),
        ("bird", "airplane"),
        ("deer", "horse"),
        ("cat", "dog"),
        ("dog", "cat"),
    }
    assert changed.sum() == 5 * 20


def test_asymmetric_noise_of_cifar100_stays_in_the_super_class():
    groups = np.array(labels.CIFAR100_SUPER_CLASSES)
    assert np.bincount(groups).tolist() == [5] * 20
    target = np.array(labels.next_in_super_class(labels.CIFAR100_SUPER_CLASSES))
    np.testing.assert_array_equal(groups[target], groups)
    # Five steps around the circle come back to the start, and no fewer.
    around = np.arange(100)
    for step in range(1, 6):
        around = target[around]
        assert (around == np.arange(100)).all() == (step == 5)
    # Fruit and vegetables: apple, mushroom, orange, pear, sweet pepper.
    assert target[[0, 51, 53, 57, 83]].tolist() == [51, 53, 57, 83, 0]


def weights_in_millions(model):
    return sum(int(np.prod(each.shape)) for each in model.trainable_variables) / 1e6


def test_the_network_for_cifar_has_the_size_of_the_paper():
    # He et al. 2016, table 6: 0.46M.
    assert round(weights_in_millions(networks.build("resnet32", 32, 10, None)), 2) == 0.46


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    # Known of the common programs for them: 11.2M and 21.3M weights have ResNet-18 and 34 on CIFAR.
    [("resnet34", 32, 21.3), ("resnet10", 224, 4.9), ("resnet152_imagenet", 224, 58.2)],
)
def test_the_other_networks(name, size, expected):
    model = networks.build(name, size, 10, logit_scale=30.0, pretrained=False)
    assert round(weights_in_millions(model), 1) == expected
    assert model.layers[-1].name == "logits"
    assert model.output_shape == (None, 10)


def test_weight_decay_is_a_part_of_the_gradient():
    weight = keras.Variable([1.0], name="kernel")
    optimizer = PenalisedSGD(0.1, penalty=0.5)
    expected, velocity = 1.0, 0.0
    for gradient in (0.2, -0.3, 0.1):
        optimizer.apply([tf.constant([gradient])], [weight])
        velocity = 0.9 * velocity + gradient + 0.5 * expected
        expected -= 0.1 * velocity
    assert float(weight[0]) == pytest.approx(expected)


def test_features_can_be_slower_than_the_classifier():
    inputs = keras.Input((2,))
    outputs = keras.layers.Dense(2, name="logits")(keras.layers.Dense(2, name="features")(inputs))
    model = keras.Model(inputs, outputs)
    optimizer = PenalisedSGD(0.1, penalty=0.0, feature_rate=0.01)
    before = [variable.numpy() for variable in model.trainable_variables]
    ones = [tf.ones_like(variable) for variable in model.trainable_variables]
    optimizer.apply(ones, model.trainable_variables)
    moved = [
        float(np.mean(old - new.numpy()))
        for old, new in zip(before, model.trainable_variables, strict=True)
    ]
    np.testing.assert_allclose(moved, [0.001, 0.001, 0.1, 0.1], rtol=1e-3)


@pytest.mark.parametrize(
    "make", [augment.shifted, augment.zoomed, augment.zoomed_and_coloured], ids=lambda f: f.__name__
)
def test_chance_alone_determines_an_image(make):
    image = tf.cast(np.random.default_rng(0).integers(0, 256, (32, 32, 3)), tf.float32)
    first, again, other = (make(image, 32, tf.constant([0, seed])) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first.numpy() != other.numpy()).any()
    assert 0 <= first.numpy().min() <= first.numpy().max() <= 255


def test_the_central_crop_is_central():
    ramp = tf.tile(tf.range(448.0)[None, :, None], [256, 1, 3])
    middle = augment.central(ramp, 224)
    assert middle.shape == (224, 224, 3)
    assert float(tf.reduce_mean(middle)) == pytest.approx(223.5, abs=0.5)


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_images_of_every_protocol_reach_the_network(name, mock_builder, tmp_path, monkeypatch):
    protocol = dataclasses.replace(PROTOCOLS[name], batch_size=8)
    builder = mock_builder(protocol.data)
    # There are fewer of them than the facts say.
    monkeypatch.setattr(training_images, "check", lambda *_: None)
    listed = protocol.split_file and a_list(builder, protocol, tmp_path / "list.txt")
    images = training_images.load(protocol, builder, listed, 0, tmp_path / "images")
    assert 8 < sum(images.counts) <= MOCK_IMAGES
    assert len(images.counts) == builder.info.features["label"].num_classes
    x, y = next(iter(batches.training(images, protocol, None, 0, 0)))
    assert x.shape == (8, protocol.size, protocol.size, 3)
    assert x.dtype == tf.float32
    assert y.shape == (8,)
    x, _ = next(iter(batches.testing(training_images.encoded(builder, "test"), protocol)))
    assert x.shape == (8, protocol.size, protocol.size, 3)


def test_an_epoch_depends_on_seed_and_number_alone(mock_builder, tmp_path, monkeypatch):
    protocol = dataclasses.replace(PROTOCOLS["cifar10-symmetric-20"], batch_size=MOCK_IMAGES)
    monkeypatch.setattr(training_images, "check", lambda *_: None)
    builder = mock_builder("cifar10")
    images = training_images.load(protocol, builder, None, 0, tmp_path / "images")
    first, second = batches.training(images, protocol, None, 0, 0).take(2).as_numpy_iterator()
    again = next(batches.training(images, protocol, None, 0, 1).as_numpy_iterator())
    other = next(batches.training(images, protocol, None, 7, 1).as_numpy_iterator())
    np.testing.assert_array_equal(second[0], again[0])
    np.testing.assert_array_equal(second[1], again[1])
    assert (second[1] != first[1]).any()
    assert (second[1] != other[1]).any()
    assert sorted(first[1]) == sorted(second[1])


def test_a_list_chooses_the_images(mock_builder, tmp_path):
    protocol = PROTOCOLS["places-lt"]
    builder = mock_builder(protocol.data)
    listed = a_list(builder, protocol, tmp_path / "list.txt")
    expected = [int(line.split()[-1]) for line in listed.read_text().splitlines()]
    protocol = dataclasses.replace(protocol, facts=facts_of(expected))
    images = training_images.load(protocol, builder, listed, 0, tmp_path / "images")
    found = [int(record["label"]) for record in images.records.as_numpy_iterator()]
    assert found == expected
    assert len(found) == MOCK_IMAGES // 2
    # A list of files that the data set does not have.
    listed.write_text(listed.read_text().replace("train/", "elsewhere/"))
    with pytest.raises(ValueError, match="Received 0, 0 and 0"):
        training_images.load(protocol, builder, listed, 0, tmp_path / "others")
    assert not (tmp_path / "others").exists()


def test_another_list_is_refused(tmp_path):
    protocol = PROTOCOLS["imagenet-lt-resnet50"]
    path = tmp_path / "list.txt"
    for text, received in (
        ("train/n01/a.JPEG 0\ntrain/n01/b.JPEG 0\n", "Received 2, 2 and 2"),
        ("a.JPEG\n", "Received the line 'a.JPEG'"),
        ("", "Received no line"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=received):
            training_images.read_split_file(protocol.split_file, path, protocol.facts)
    with pytest.raises(ValueError, match="--split-file"):
        training_images.read_split_file(protocol.split_file, None, protocol.facts)


def test_a_list_of_the_right_counts_is_taken(tmp_path):
    # As ImageNet-LT: 1,000 classes of 1,280 down to 5 images, 115,846 in all.
    facts = PROTOCOLS["imagenet-lt-resnet50"].facts
    counts = np.full(1000, 5)
    counts[:86] = 1280
    counts[86] += facts.images - counts.sum()
    lines = [f"train/n{c}/n{c}_{i}.JPEG {c}" for c, n in enumerate(counts) for i in range(n)]
    path = tmp_path / "list.txt"
    path.write_text("\n".join(lines))
    keys = training_images.read_split_file(protocols.IMAGENET_LT_FILE, path, facts)
    assert keys[0] == b"n0_0.JPEG"
    assert len(keys) == facts.images


def shortened(monkeypatch, name, **changes):
    """The protocol with few images and epochs, in the place of the real one."""
    monkeypatch.setattr(training_images, "check", lambda *_: None)
    short = dataclasses.replace(PROTOCOLS[name], batch_size=16, **changes)
    monkeypatch.setitem(PROTOCOLS, name, short)


def small_network(name, size, num_classes, logit_scale, pretrained):
    inputs = keras.Input((size, size, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(inputs))
    return keras.Model(inputs, keras.layers.Dense(num_classes, name="logits")(x))


def test_a_run_is_recorded_and_shown_beside_the_published_rows(mock_builder, tmp_path, monkeypatch):
    # Its own network has three times as many layers, which take their time to be traced.
    shortened(monkeypatch, "cifar10-lt-100", network="resnet10")
    mock_builder("cifar10")
    arguments = ["run", "cifar10-lt-100", "--method", "gradient_balanced", "--epochs", "1"]
    arguments += ["--data-dir", str(tmp_path / "tfds"), "--results", str(tmp_path)]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "1 of 200 epochs: not comparable" in result.output
    assert "77.03" in result.output
    (record,) = records.read(tmp_path / "published.jsonl")
    assert record["key"] == "cifar10-lt-100/gradient_balanced/seed0/epochs1"
    assert 0 <= record["final"]["accuracy"] <= 1
    # Nothing is run twice.
    assert trial.run(trial.Trial("cifar10-lt-100", "gradient_balanced", 0, 1), tmp_path) == record


def test_an_interrupted_run_ends_as_if_it_had_not_been(mock_builder, tmp_path, monkeypatch):
    shortened(monkeypatch, "imagenet-lt-resnet10", size=32)
    monkeypatch.setattr(networks, "build", small_network)
    builder = mock_builder("imagenet2012")
    listed = a_list(builder, PROTOCOLS["imagenet-lt-resnet10"], tmp_path / "list.txt")
    planned = trial.Trial("imagenet-lt-resnet10", "square_root_resampling", 0, 2)
    run = functools.partial(trial.run, planned, data_dir=tmp_path / "tfds", split_file=listed)
    whole = run(tmp_path / "whole")

    class Stopping(trial.EpochCheckpoint):
        def on_epoch_end(self, epoch, logs=None):
            super().on_epoch_end(epoch, logs)
            raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(trial, "EpochCheckpoint", Stopping)
        with pytest.raises(InterruptedError):
            run(tmp_path / "parts")
    resumed = run(tmp_path / "parts")
    assert resumed["final"] == pytest.approx(whole["final"], abs=1e-4, nan_ok=True)


def test_published_rows_are_of_known_protocols_and_methods():
    found = rows.read()
    assert {row.protocol for row in found} <= set(PROTOCOLS)
    assert {row.method for row in found} <= set(methods.names())
    assert all(10 < row.accuracy < 100 and row.source for row in found)
    keys = [(row.protocol, row.method, row.source) for row in found]
    assert len(set(keys)) == len(keys)


def test_commands_print_protocols_and_rows(tmp_path):
    runner = CliRunner()
    listing = runner.invoke(app, ["list"], env={"COLUMNS": "200"})
    assert listing.exit_code == 0, listing.output
    for name in PROTOCOLS:
        assert name in listing.output
    shown = runner.invoke(
        app, ["rows", "places-lt", "--results", str(tmp_path)], env={"COLUMNS": "200"}
    )
    assert shown.exit_code == 0, shown.output
    assert "30.20" in shown.output
    unknown = runner.invoke(app, ["rows", "cifar10-lt-99"], env={"COLUMNS": "200"})
    assert unknown.exit_code == 2
    assert "cifar10-lt-100" in unknown.output
