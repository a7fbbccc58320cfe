import keras
import numpy as np
import pytest

from gb_keras import backbones


def images(*shape):
    return np.random.default_rng(0).uniform(0, 255, shape).astype("float32")


@pytest.mark.parametrize("name", backbones.names())
def test_small_grey_images_give_logits_and_survive_saving(name, tmp_path):
    # Smaller than the least size of each backbone but small_cnn's own 8 x 8.
    model = backbones.build(name, (8, 8, 1), num_classes=5, seed=0)
    x = images(2, 8, 8, 1)
    logits = model(x)
    assert logits.shape == (2, 5)
    assert logits.dtype == "float32"
    assert model.input_shape == (None, 8, 8, 1)
    # Logits, not probabilities.
    assert not np.allclose(np.sum(logits, axis=1), 1.0)
    # Keras does not save the state of dropout's random numbers: a resumed training would go on
    # with others. So no backbone may have any.
    assert not [variable.path for variable in model.variables if "seed" in variable.path]
    model.save(tmp_path / "model.keras")
    restored = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(restored(x), logits)


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("vgg16", keras.applications.vgg16),
        ("inception_v3", keras.applications.inception_v3),
        ("resnet50", keras.applications.resnet50),
    ],
)
def test_preprocessing_is_that_of_keras_applications(name, module):
    x = images(2, 80, 80, 3)
    inputs = keras.Input((80, 80, 3))
    preprocess = keras.Model(inputs, backbones.get(name).preprocess(inputs))
    np.testing.assert_allclose(preprocess(x), module.preprocess_input(x.copy()), atol=1e-4)


def test_grey_is_repeated_to_rgb():
    model = backbones.build("vgg16", (32, 32, 1), 3)
    rgb = keras.Model(model.input, model.get_layer("grey_to_rgb").output)
    grey = images(1, 32, 32, 1)
    np.testing.assert_array_equal(rgb(grey), np.repeat(grey, 3, axis=-1))


@pytest.mark.parametrize(
    ("name", "size", "enlarged"),
    [
        ("small_cnn", (8, 12), None),
        ("small_cnn", (4, 6), (8, 12)),
        ("resnet32", (28, 28), (32, 32)),
        ("resnet32", (16, 24), (32, 48)),
        ("resnet32", (32, 500), None),
    ],
)
def test_images_below_the_least_size_are_enlarged_with_their_aspect(name, size, enlarged):
    model = backbones.build(name, (*size, 1), 3)
    resize = [layer for layer in model.layers if layer.name == "resize"]
    assert [layer.output.shape[1:3] for layer in resize] == ([enlarged] if enlarged else [])


def test_resnet32_has_the_size_of_the_paper():
    # Convolutions of 3 x 3: from 3 to 16 channels; 10 from 16 to 16; one from 16 to 32 and 9 from
    # 32 to 32; one from 32 to 64 and 9 from 64 to 64. Shortcuts have no parameters.
    convolutions = 9 * (3 * 16 + 10 * 16**2 + (16 * 32 + 9 * 32**2) + (32 * 64 + 9 * 64**2))
    # Two trainable and two moving parameters for each channel of the 11 + 10 + 10 outputs.
    normalisation = 4 * (11 * 16 + 10 * 32 + 10 * 64)
    model = backbones.build("resnet32", (32, 32, 3), 10)
    assert model.count_params() == convolutions + normalisation + 64 * 10 + 10
    assert len([x for x in model.layers if isinstance(x, keras.layers.Conv2D)]) == 31
    # "0.46M" in table 6 of the paper.
    assert round(model.count_params() / 1e6, 1) == 0.5


def test_resnet32_shortcut_takes_every_second_pixel_and_pads_channels():
    model = backbones.build("resnet32", (32, 32, 3), 10, seed=1)
    names = [type(op).__name__ for op in model.operations]
    assert names.count("Pad") == 2
    pad = model.operations[names.index("Pad")]
    subsample = pad.input._keras_history.operation
    through = keras.Model(model.input, [pad.output, subsample.input])
    shortcut, before = through(images(1, 32, 32, 3))
    expected = np.pad(np.asarray(before)[:, ::2, ::2], ((0, 0), (0, 0), (0, 0), (8, 8)))
    np.testing.assert_array_equal(shortcut, expected)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("name", ["small_cnn", "resnet32"])
@pytest.mark.parametrize("logit_scale", [None, 30.0])
def test_logits_are_float32_under_mixed_precision(name, policy, logit_scale):
    keras.config.set_dtype_policy(policy)
    model = backbones.build(name, (8, 8, 1), 3, logit_scale=logit_scale)
    assert model(images(2, 8, 8, 1)).dtype == "float32"
    assert {layer.compute_dtype for layer in model.layers if "conv" in layer.name} == {policy[6:]}


def test_seed_fixes_the_weights():
    first, again, other = (
        backbones.build("small_cnn", (8, 8, 1), 3, seed=seed).get_weights() for seed in (1, 1, 2)
    )
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], other[0])


def test_normalized_classifier_is_bounded_and_survives_saving(tmp_path):
    model = backbones.build("small_cnn", (8, 8, 1), 3, logit_scale=30.0)
    x = images(4, 8, 8, 1)
    features = np.asarray(keras.Model(model.input, model.layers[-1].input)(x))
    kernel = np.asarray(model.layers[-1].kernel)
    cosines = (features / np.linalg.norm(features, axis=1, keepdims=True)) @ (
        kernel / np.linalg.norm(kernel, axis=0)
    )
    np.testing.assert_allclose(model(x), 30.0 * cosines, rtol=1e-4, atol=1e-4)
    model.save(tmp_path / "model.keras")
    restored = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(restored(x), model(x))


def test_unknown_name_lists_the_names_and_the_nearest():
    with pytest.raises(ValueError, match=r"small_cnn, resnet32.*Did you mean 'resnet50'"):
        backbones.build("resnet5O", (32, 32, 3), 3)


@pytest.mark.parametrize("shape", [(8, 8), (8, None, 1), (0, 8, 1), (8, 8, 1.0)])
def test_shape_must_be_known(shape):
    with pytest.raises(ValueError, match="height, width and channels"):
        backbones.build("small_cnn", shape, 3)


def test_channels_and_classes_are_checked():
    with pytest.raises(ValueError, match="1 or 3 channels"):
        backbones.build("vgg16", (32, 32, 4), 3)
    with pytest.raises(ValueError, match="at least 2 classes"):
        backbones.build("small_cnn", (8, 8, 1), 1)
    assert backbones.build("small_cnn", (8, 8, 4), 3).input_shape == (None, 8, 8, 4)
