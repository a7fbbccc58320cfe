import inspect

import keras
import numpy as np
import pytest

import gb_keras
from gb_keras import backbones
from gb_keras.backbones import saved


def images(*shape):
    return np.random.default_rng(0).uniform(0, 255, shape).astype("float32")


# One of each architecture, the smallest; the others differ in numbers of layers and filters.
BUILT = (
    "small_cnn",
    "resnet32",
    "resnet18",
    "resnet34_v2",
    "vgg16",
    "inception_v3",
    "xception",
    "resnet50",
    "resnet50_v2",
    "densenet121",
    "mobilenet",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "nasnet_mobile",
    "efficientnet_b0",
    "efficientnet_v2_b0",
    "convnext_tiny",
)


@pytest.mark.parametrize("name", BUILT)
def test_small_grey_images_give_logits_and_survive_saving(name, tmp_path):
    # Smaller than the least size of each backbone but small_cnn's own 8 x 8.
    model = backbones.build(name, (8, 8, 1), num_classes=5, seed=0)
    x = images(2, 8, 8, 1)
    logits = model(x)
    assert logits.shape == (2, 5)
    assert logits.dtype == "float32"
    assert model.input_shape == (None, 8, 8, 1)
    # Where nobody says, it is not in training.
    np.testing.assert_array_equal(model(x), logits)
    np.testing.assert_array_equal(model(x, training=False), logits)
    # Logits, not probabilities.
    assert not np.allclose(np.sum(logits, axis=1), 1.0)
    model.save(tmp_path / "model.keras")
    restored = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(restored(x), logits)


def applications():
    """Functions of `keras.applications` that make a classifier, by name."""
    return {
        name: function
        for name, function in vars(keras.applications).items()
        if inspect.isfunction(function)
    }


def test_all_classifiers_of_keras_applications_have_a_name():
    named = {
        name: backbones.get(name).features.args[1].__name__
        for name in backbones.names()
        if backbones.get(name).has_weights
    }
    assert sorted(named.values()) == sorted(applications())
    for name, function in named.items():
        assert name.replace("_", "") == function.lower()


@pytest.mark.parametrize(
    "name", [name for name in backbones.names() if backbones.get(name).has_weights]
)
def test_preprocessing_is_that_of_keras_applications(name):
    function = backbones.get(name).features.args[1]
    # Some are defined in one module and have their preprocessing in another.
    family = {"ResNet50V2": "resnet_v2", "ResNet101V2": "resnet_v2", "ResNet152V2": "resnet_v2"}
    module = getattr(
        keras.applications, family.get(function.__name__, function.__module__.split(".")[-1])
    )
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
        ("resnet18", (16, 16), (32, 32)),
        ("vgg19", (28, 28), (32, 32)),
        ("xception", (71, 71), None),
        ("xception", (32, 64), (71, 142)),
        ("inception_v3", (50, 75), (75, 112)),
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


@pytest.mark.parametrize(("name", "default_size"), [("mobilenet", 224), ("efficientnet_b1", 240)])
def test_default_size_is_that_of_keras(name, default_size):
    assert applications()[backbones.get(name).features.args[1].__name__](
        weights=None
    ).input_shape == (None, default_size, default_size, 3)
    assert backbones.get(name).default_size == default_size


@pytest.mark.parametrize(
    ("name", "millions"),
    # He et al. 2016, table 1, as torchvision counts them for 1,000 classes: 11.69 and 21.80
    # million, of which the classifier has 0.513. The others normalise the stem's 64 channels twice
    # and the projections' 128 + 256 + 512 not at all.
    [("resnet18", 11.18), ("resnet34", 21.28), ("resnet18_v2", 11.17), ("resnet34_v2", 21.28)],
)
def test_basic_resnets_have_the_size_of_the_paper(name, millions):
    model = backbones.build(name, (64, 64, 3), 10)
    classifier = 512 * 10 + 10
    trainable = sum(np.prod(v.shape) for v in model.trainable_variables) - classifier
    assert round(trainable / 1e6, 2) == millions
    convolutions = [x for x in model.layers if isinstance(x, keras.layers.Conv2D)]
    # All but the classifier and the three projections.
    assert len(convolutions) - 3 == int(name[6:8]) - 1
    assert model.get_layer(index=-2).input.shape[1:] == (2, 2, 512)


class TestWeights:
    def test_a_file_that_keras_has_written_is_loaded(self, tmp_path):
        source = keras.applications.MobileNet(include_top=False, weights=None, pooling="avg")
        source.save_weights(tmp_path / "mobilenet_notop.weights.h5")
        model = backbones.build(
            "mobilenet", (32, 32, 3), 4, weights=tmp_path / "mobilenet_notop.weights.h5"
        )
        x = images(2, 32, 32, 3)
        features = keras.Model(model.input, model.get_layer("logits").input)
        expected = source(keras.applications.mobilenet.preprocess_input(x.copy()))
        np.testing.assert_allclose(features(x), expected, rtol=1e-4, atol=1e-5)

    def test_weights_of_another_network_are_refused(self, tmp_path):
        file = tmp_path / "vgg.weights.h5"
        keras.applications.VGG16(include_top=False, weights=None).save_weights(file)
        with pytest.raises(ValueError, match=r"weights of 'mobilenet'.*notop.*does not fit"):
            backbones.build("mobilenet", (32, 32, 3), 4, weights=file)

    def test_a_missing_file_is_said(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"'imagenet' or a file.*nowhere"):
            backbones.build("vgg16", (32, 32, 3), 4, weights=tmp_path / "nowhere.h5")

    @pytest.mark.parametrize("name", ["small_cnn", "resnet18"])
    def test_networks_without_published_weights_take_none(self, name):
        with pytest.raises(ValueError, match=f"no weights for '{name}'"):
            backbones.build(name, (32, 32, 3), 4, weights="imagenet")

    def test_without_a_network_the_error_names_the_file_to_bring(self, monkeypatch, tmp_path):
        # A proxy that nobody answers at, and a folder of downloads that is empty.
        monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
        monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path))
        url = r"https://\S+/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
        with pytest.raises(ConnectionError, match=rf"download {url}, bring .*--weights FILE"):
            backbones.build("vgg16", (32, 32, 3), 4, weights="imagenet")

    @pytest.mark.parametrize("name", ["efficientnet_b0", "efficientnet_v2_b0"])
    def test_a_file_gives_what_keras_makes_of_the_download(self, name, monkeypatch, tmp_path):
        function = backbones.get(name).features.args[1]
        source = function(include_top=False, weights=None)
        for layer in source.layers:
            if isinstance(layer, keras.layers.Normalization) and layer.weights:
                # What the published file has in it.
                for variable, value in zip(
                    layer.weights,
                    ([0.485, 0.456, 0.406], [0.229**2, 0.224**2, 0.225**2], 0),
                    strict=True,
                ):
                    variable.assign(value)
        file = tmp_path / "notop.weights.h5"
        source.save_weights(file)
        monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *args, **kwargs: file)
        x = images(2, 32, 32, 3)
        downloaded, given = (
            keras.Model(model.input, model.get_layer("logits").input)(x)
            for model in (
                backbones.build(name, (32, 32, 3), 4, weights=weights)
                for weights in ("imagenet", file)
            )
        )
        np.testing.assert_allclose(given, downloaded, rtol=1e-3, atol=1e-4)
        plain = backbones.build(name, (32, 32, 3), 4)
        assert not np.allclose(keras.Model(plain.input, plain.layers[-1].input)(x), given)


class TestSavedModel:
    def saved(self, folder, channels=1, size=8):
        model = keras.Sequential(
            [
                keras.Input((size, size, channels)),
                keras.layers.Rescaling(1 / 255),
                keras.layers.Flatten(),
                keras.layers.Dense(5, activation="relu"),
                keras.layers.Dense(3),
                keras.layers.Softmax(),
            ]
        )
        model.save(folder / "own.keras")
        return model

    def test_its_features_come_before_the_last_dense_layer(self, tmp_path):
        source = self.saved(tmp_path)
        model = backbones.build(tmp_path / "own.keras", (8, 8, 1), 4)
        assert (model.name, model.output_shape) == ("own", (None, 4))
        x = images(2, 8, 8, 1)
        features = keras.Model(source.inputs[0], source.layers[2].output)(x)
        logits = features @ model.get_layer("logits").kernel
        np.testing.assert_allclose(model(x), logits, rtol=1e-5)

    def test_two_models_of_one_file_share_nothing(self, tmp_path):
        self.saved(tmp_path)
        one, two = (backbones.build(tmp_path / "own.keras", (8, 8, 1), 4) for _ in range(2))
        one.layers[1].weights[0].assign_add(1.0)
        assert not np.allclose(one.layers[1].weights[0], two.layers[1].weights[0])

    def test_images_come_to_its_size_and_colours(self, tmp_path):
        self.saved(tmp_path, channels=3, size=16)
        model = backbones.build(tmp_path / "own.keras", (10, 12, 1), 4)
        assert model(images(2, 10, 12, 1)).shape == (2, 4)
        assert model.get_layer("resize").output.shape[1:3] == (16, 16)

    def test_what_cannot_be_a_backbone_is_refused(self, tmp_path):
        self.saved(tmp_path)
        with pytest.raises(ValueError, match="to have 1 channels"):
            backbones.build(tmp_path / "own.keras", (8, 8, 3), 4)
        with pytest.raises(FileNotFoundError, match=r"\.keras file, or the folder.*none\.keras"):
            backbones.build(tmp_path / "none.keras", (8, 8, 3), 4)
        with pytest.raises(FileNotFoundError, match=r"no '.*model\.keras'"):
            backbones.build(tmp_path, (8, 8, 3), 4)
        (tmp_path / "text.keras").write_text("no model")
        with pytest.raises(ValueError, match="cannot be loaded"):
            backbones.build(tmp_path / "text.keras", (8, 8, 3), 4)
        flat = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
        flat.save(tmp_path / "flat.keras")
        with pytest.raises(ValueError, match=r"last layer is Dense.*ending in Flatten"):
            backbones.build(tmp_path / "flat.keras", (8, 8, 1), 4)
        vector = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
        vector.save(tmp_path / "vector.keras")
        with pytest.raises(ValueError, match=r"model of images.*\(None, 8\)"):
            backbones.build(tmp_path / "vector.keras", (8, 8, 1), 4)


def test_freezing_leaves_what_was_frozen_before():
    model = backbones.build("small_cnn", (8, 8, 1), 3)
    first = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    first.trainable = False
    before = len(model.trainable_variables)
    with backbones.freeze(model):
        assert [each.path for each in model.trainable_variables] == ["logits/kernel", "logits/bias"]
    assert len(model.trainable_variables) == before
    assert not first.trainable


def balanced_model(num_classes, bins=5):
    model = backbones.build("small_cnn", (8, 8, 1), num_classes, seed=0)
    model = gb_keras.GradientBalancedModel.from_model(model)
    base = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", gb_keras.GradientBalancedLoss(base, bins=bins))
    return model


class TestTransferOfClasses:
    def test_known_classes_keep_weights_and_statistic(self):
        trained, model = balanced_model(3), balanced_model(4)
        x = images(20, 8, 8, 1)
        trained.fit(x, np.arange(20) % 2, batch_size=4, verbose=0)
        fresh = [each.numpy() for each in model.layers[-1].weights]
        saved.transfer_classes(trained, model, [1, None, 0, None])
        old, new = ([each.numpy() for each in one.layers[-1].weights] for one in (trained, model))
        for a, b, untouched in zip(old, new, fresh, strict=True):
            np.testing.assert_array_equal(b[..., [0, 2]], a[..., [1, 0]])
            np.testing.assert_array_equal(b[..., [1, 3]], untouched[..., [1, 3]])
        known, taken = trained.gradient_density, model.gradient_density
        np.testing.assert_array_equal(taken.class_counts, [10, 0, 10, 0])
        np.testing.assert_array_equal(taken.histogram[0], known.histogram[1])
        np.testing.assert_array_equal(taken.histogram[1], np.zeros(5))
        assert float(taken.num_updates) == 5.0
        np.testing.assert_array_equal(taken.noise_rate, known.noise_rate)
        # And it goes on from there.
        model.fit(x, np.arange(20) % 4, batch_size=4, verbose=0)
        np.testing.assert_array_equal(taken.class_counts, [15, 5, 15, 5])

    def test_nothing_in_common_changes_nothing(self):
        trained, model = balanced_model(3), balanced_model(4)
        before = [each.numpy() for each in model.weights]
        saved.transfer_classes(trained, model, [None] * 4)
        for a, b in zip(before, model.weights, strict=True):
            np.testing.assert_array_equal(a, b)

    def test_statistics_of_other_bins_are_refused(self):
        trained, model = balanced_model(3), balanced_model(3, bins=6)
        trained.fit(images(4, 8, 8, 1), np.arange(4) % 3, verbose=0)
        with pytest.raises(ValueError, match=r"bins=6.*bins=5.*same loss"):
            saved.transfer_classes(trained, model, [0, 1, 2])
