"""Presets of keras-hub as backbones, from a folder, as there is no network."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from gb_keras import backbones
from gb_keras.backbones import saved
from gb_keras.stages.prepare import prepare
from gb_keras.stages.train import train

keras_hub = pytest.importorskip("keras_hub")
pytestmark = pytest.mark.xdist_group("hub")

SIZE = 24


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A small classifier of keras-hub with its preprocessing, and the folder of its preset."""
    keras.utils.set_random_seed(0)
    network = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64, 64],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
        image_shape=(None, None, 3),
    )
    converter = keras_hub.layers.ResNetImageConverter(
        image_size=(SIZE, SIZE), scale=[0.017, 0.018, 0.019], offset=[-2.1, -2.0, -1.8]
    )
    model = keras_hub.models.ImageClassifier(
        backbone=network,
        preprocessor=keras_hub.models.ResNetImageClassifierPreprocessor(image_converter=converter),
        num_classes=5,
    )
    folder = tmp_path_factory.mktemp("presets")
    model.save_to_preset(str(folder / "classifier"))
    network.save_to_preset(str(folder / "bare"))
    return model, folder / "classifier"


def features(model):
    """What goes into the last layer."""
    return keras.Model(model.inputs[0], saved.last_layer(model).input)


def test_a_preset_gives_what_keras_hub_makes_of_an_image(classifier):
    theirs, folder = classifier
    images = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3)).astype("float32")
    expected = features(theirs)(theirs.preprocessor.image_converter(images), training=False)
    ours = backbones.build(f"hub:{folder}", (20, 30, 3), num_classes=7, weights="preset")
    assert (ours.name, ours.output_shape) == ("classifier", (None, 7))
    np.testing.assert_allclose(features(ours)(images, training=False), expected, rtol=1e-5)
    # Nobody said that this is a training, so it is none.
    np.testing.assert_array_equal(ours(images), ours(images, training=False))
    # Without their weights it is the same network with others.
    random = backbones.build(f"hub:{folder}", (20, 30, 3), num_classes=7, seed=1)
    assert np.abs(features(random)(images, training=False) - expected).max() > 0.01
    assert backbones.get(f"hub:{folder}").default_size == SIZE


def test_a_training_that_starts_with_the_classifier_alone(classifier, tmp_path):
    generator = np.random.default_rng(0)
    for index in range(48):
        file = tmp_path / "in" / "ab"[index % 2] / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (12, 12), dtype=np.uint8)).save(file)
    prepare(f"folder:{tmp_path / 'in'}", tmp_path / "data")
    theirs, folder = classifier
    options = {"backbone": f"hub:{folder}", "weights": "preset", "batch_size": 16, "verbose": 0}
    train(tmp_path / "data", tmp_path / "run", **options, epochs=2, freeze_epochs=1)
    model = saved.load(tmp_path / "run" / "model.keras")
    network = next(each for each in model._flatten_layers() if each.name == theirs.backbone.name)
    pairs = zip(network.weights, theirs.backbone.weights, strict=True)
    assert all(np.abs(ours.numpy() - before.numpy()).max() > 0 for ours, before in pairs)
    with backbones.freeze(model):
        assert len(model.trainable_variables) == 2
    # In a process that has not imported keras-hub.
    images = generator.uniform(0, 255, (3, 12, 12, 1)).astype("float32")
    np.save(tmp_path / "images.npy", images)
    program = (
        "import sys, keras, numpy as np; model = keras.models.load_model(sys.argv[1])\n"
        "np.save(sys.argv[3], model.predict(np.load(sys.argv[2]), verbose=0))"
    )
    files = (tmp_path / "run" / "model.keras", tmp_path / "images.npy", tmp_path / "logits.npy")
    program = f"import gb_keras; {program}"
    subprocess.run([sys.executable, "-c", program, *map(str, files)], check=True)
    np.testing.assert_allclose(np.load(files[2]), model.predict(images, verbose=0), rtol=1e-4)


def test_half_precision_reaches_the_network(classifier):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = backbones.build(f"hub:{classifier[1]}", (SIZE, SIZE, 3), num_classes=3)
    finally:
        keras.config.set_dtype_policy(before)
    computed = {
        layer.compute_dtype
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.Conv2D)
    }
    assert computed == {"bfloat16"}
    assert model.get_layer("logits").compute_dtype == "float32"


@pytest.mark.parametrize(
    ("preset", "message"),
    [
        ("bare", "image_converter.json"),
        ("none", "Unknown preset"),
        ("resnet_18_imagenett", "Did you mean 'resnet_18_imagenet'"),
    ],
)
def test_presets_that_are_none_are_refused(classifier, preset, message):
    folder = classifier[1].parent
    name = preset if preset.startswith("resnet") else folder / preset
    with pytest.raises(ValueError, match=message):
        backbones.get(f"hub:{name}")


def test_other_weights_are_refused(classifier):
    with pytest.raises(ValueError, match="Expected weights of a preset to be 'preset'"):
        backbones.build(f"hub:{classifier[1]}", (SIZE, SIZE, 3), 3, weights="imagenet")


def test_a_download_that_fails_says_how_to_do_without(monkeypatch, tmp_path):
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    with pytest.raises(ConnectionError, match=r"save_to_preset\(FOLDER\).*hub:FOLDER"):
        backbones.get("hub:resnet_18_imagenet")


def test_without_keras_hub_the_error_says_what_to_install(classifier, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(ValueError, match=r"pip install 'gb-keras\[hub\]'"):
        backbones.get(f"hub:{classifier[1]}")
