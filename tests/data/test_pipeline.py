import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from gb_keras.data.pipeline import load_split
from gb_keras.stages.prepare import prepare
from tests.replicas import two_replicas


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    return folder, prepare("digits", folder)


def pixels(dataset):
    """Every image of a finite data set, in order, as hashable bytes."""
    return [image.tobytes() for images, _ in dataset.as_numpy_iterator() for image in images]


def epochs_of(dataset, steps, num_epochs):
    """The labels-and-pixels of each batch, epoch by epoch."""
    batches = [
        (images.tobytes(), labels.tobytes())
        for images, labels in dataset.take(steps * num_epochs).as_numpy_iterator()
    ]
    return [batches[start : start + steps] for start in range(0, len(batches), steps)]


def test_batches(digits):
    folder, manifest = digits
    dataset = load_split(folder, "train", batch_size=100)
    images, labels = next(iter(dataset))
    assert images.shape == (100, 8, 8, 1)
    assert images.dtype == tf.float32
    assert labels.dtype == tf.int64
    assert images.numpy().max() == 255
    assert dataset.element_spec[0].shape.as_list() == [None, 8, 8, 1]
    counted = np.zeros(10, int)
    for _, labels in dataset.as_numpy_iterator():
        counted += np.bincount(labels, minlength=10)
    assert counted.tolist() == manifest["splits"]["train"]["class_counts"]
    assert len(dataset) == math.ceil(manifest["splits"]["train"]["num_examples"] / 100)
    dropped = load_split(folder, "train", batch_size=100, drop_remainder=True)
    assert len(dropped) == manifest["splits"]["train"]["num_examples"] // 100


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1, 2**40])
def test_order_of_an_epoch_depends_on_seed_and_epoch_alone(digits, seed):
    folder, manifest = digits
    steps = math.ceil(manifest["splits"]["test"]["num_examples"] / 64)

    def stream(**options):
        return load_split(
            folder, "test", batch_size=64, shuffle=True, seed=seed, repeat=True, **options
        )

    tf.random.set_seed(1)
    epochs = epochs_of(stream(), steps, 4)
    tf.random.set_seed(2)
    for epoch in range(4):
        assert epochs_of(stream(start_epoch=epoch), steps, 1)[0] == epochs[epoch]
    assert len({str(epoch) for epoch in epochs}) == 4
    # Each epoch holds every example once, and no batch reaches into the next.
    whole = sorted(pixels(load_split(folder, "test", batch_size=64)))
    for epoch in range(4):
        one = stream(start_epoch=epoch).take(steps)
        assert sorted(pixels(one)) == whole


def test_resampled_epochs_depend_on_seed_and_epoch_alone(digits):
    folder, manifest = digits
    counts = np.array(manifest["splits"]["test"]["class_counts"])
    num_examples = counts.sum()
    steps = math.ceil(num_examples / 64)
    shares = np.arange(10) / 45

    def stream(**options):
        return load_split(
            folder,
            "test",
            batch_size=64,
            shuffle=True,
            repeat=True,
            class_sampling=shares,
            **options,
        )

    tf.random.set_seed(1)
    epochs = epochs_of(stream(seed=3), steps, 3)
    tf.random.set_seed(2)
    for epoch in range(3):
        assert epochs_of(stream(seed=3, start_epoch=epoch), steps, 1)[0] == epochs[epoch]
    assert len({str(epoch) for epoch in [*epochs, *epochs_of(stream(seed=4), steps, 3)]}) == 6
    for epoch in epochs:
        labels = np.concatenate([np.frombuffer(batch[1], "int64") for batch in epoch])
        # As long as the split, and no batch reaches into the next epoch.
        assert len(labels) == num_examples
        drawn = np.bincount(labels, minlength=10)
        assert (np.abs(drawn - shares * num_examples) < 1).all()


def test_resampling_needs_an_endless_shuffled_stream(digits):
    for options in ({"shuffle": True}, {"repeat": True}):
        with pytest.raises(ValueError, match="shuffle=True and repeat=True where class_sampling"):
            load_split(digits[0], "test", batch_size=8, class_sampling=[0.1] * 10, **options)
    with pytest.raises(ValueError, match="a share for each of the 10 classes"):
        load_split(
            digits[0], "test", batch_size=8, shuffle=True, repeat=True, class_sampling=[0.5, 0.5]
        )


def test_the_programs_own_random_numbers_are_left_alone(digits):
    folder, _ = digits
    tf.random.set_seed(5)
    expected = tf.random.uniform([3]).numpy().tolist()
    tf.random.set_seed(5)
    load_split(folder, "test", batch_size=64, shuffle=True, repeat=True)
    assert tf.random.uniform([3]).numpy().tolist() == expected


def test_seeds_differ(digits):
    folder, _ = digits
    first, second = (
        next(iter(load_split(folder, "test", batch_size=64, shuffle=True, seed=s, repeat=True)))
        for s in (0, 1)
    )
    assert (first[1].numpy() != second[1].numpy()).any()


def test_a_finite_shuffled_pass_changes_its_order_each_time(digits):
    folder, _ = digits
    dataset = load_split(folder, "test", batch_size=64, shuffle=True)
    first, second = pixels(dataset), pixels(dataset)
    assert first != second
    assert sorted(first) == sorted(second)


def test_unshuffled_order_is_fixed(digits):
    folder, _ = digits
    once = pixels(load_split(folder, "test", batch_size=64))
    assert once == pixels(load_split(folder, "test", batch_size=7))
    twice = load_split(folder, "test", batch_size=64, repeat=True).take(12)
    assert pixels(twice) == once * 2


def test_resize_and_channels(digits):
    folder, _ = digits
    (images, _), *_ = load_split(folder, "test", batch_size=5, image_size=(16, 24), channels=3)
    assert images.shape == (5, 16, 24, 3)
    np.testing.assert_array_equal(images[..., 0], images[..., 2])
    plain = next(iter(load_split(folder, "test", batch_size=5)))[0]
    np.testing.assert_allclose(images[..., :1], tf.image.resize(plain, (16, 24), antialias=True))
    assert 0 <= images.numpy().min() <= images.numpy().max() <= 255


@pytest.fixture(scope="module")
def coloured(tmp_path_factory):
    """Pictures of several sizes, pure red, green or blue by class."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("out")
    for label, name in enumerate(["0 red", "1 green", "2 blue"]):
        (source / name).mkdir()
        for index in range(5):
            pixels = np.zeros((5 + index, 9, 3), np.uint8)
            pixels[..., label] = 200 + index
            Image.fromarray(pixels).save(source / name / f"{index}.png")
    prepare(f"folder:{source}", out)
    return out


def test_several_sizes_need_a_size(coloured):
    with pytest.raises(ValueError, match="Pass image_size="):
        load_split(coloured, "train", batch_size=2)
    images, labels = next(iter(load_split(coloured, "train", batch_size=9, image_size=(6, 6))))
    assert images.shape == (9, 6, 6, 3)
    assert images.numpy().max(axis=(1, 2)).argmax(axis=-1).tolist() == labels.numpy().tolist()


def test_colours_become_luma(coloured):
    dataset = load_split(coloured, "train", batch_size=9, image_size=(6, 6), channels=1)
    images, labels = next(iter(dataset))
    assert images.shape == (9, 6, 6, 1)
    # Rec. 601: 0.299 R + 0.587 G + 0.114 B, and the brightest value is 204.
    weights = np.array([0.299, 0.587, 0.114])[labels.numpy()]
    value = images.numpy()[:, 0, 0, 0] / weights
    assert ((value > 199) & (value < 205)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "valid"}, r"one of \['test', 'train', 'validation'\]. Received: 'valid'"),
        ({"batch_size": 0}, "batch_size"),
        ({"image_size": (3,)}, "image_size"),
        ({"image_size": (0, 3)}, "image_size"),
        ({"channels": 2}, "channels"),
        ({"seed": -1}, "seed"),
        ({"start_epoch": -1}, "start_epoch"),
    ],
)
def test_arguments_are_checked(digits, options, message):
    arguments = {"split": "test", "batch_size": 8} | options
    with pytest.raises(ValueError, match=message):
        load_split(digits[0], arguments.pop("split"), **arguments)


def test_no_data_set(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"dataset_info\.json"):
        load_split(tmp_path, "train", batch_size=8)


def test_two_replicas_train_on_it(digits):
    folder, manifest = digits
    steps = math.ceil(manifest["splits"]["train"]["num_examples"] / 64)
    with two_replicas().scope():
        model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
        model.add(keras.layers.Rescaling(1 / 255))
        model.add(keras.layers.Dense(10))
        model.compile(
            keras.optimizers.Adam(0.05),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
    train = load_split(folder, "train", batch_size=64, shuffle=True, repeat=True)
    model.fit(train, steps_per_epoch=steps, epochs=2, shuffle=False, verbose=0)
    _, accuracy = model.evaluate(load_split(folder, "test", batch_size=64), verbose=0)
    assert accuracy > 0.9


@pytest.fixture(scope="module", params=["complete", "partial"])
def attributes(request, tmp_path_factory):
    """Sixty images with four labels each; where they are partial every third entry is unknown."""
    folder = tmp_path_factory.mktemp(request.param)
    generator = np.random.default_rng(0)
    states = generator.integers(0, 2, (60, 4)).astype(int)
    lines = ["path,a,b,c,d"]
    for index, row in enumerate(states):
        pixels = generator.integers(0, 255, (6, 6, 3), "uint8")
        pixels[0, 0, 0] = index
        Image.fromarray(pixels).save(folder / f"{index}.png")
        cells = [
            "" if request.param == "partial" and (index + column) % 3 == 0 else str(state)
            for column, state in enumerate(row)
        ]
        lines.append(",".join([f"{index}.png", *cells]))
    (folder / "t.csv").write_text("\n".join(lines))
    manifest = prepare(f"csv:{folder / 't.csv'}?labels=a,b,c,d", folder / "data")
    return request.param, states, folder / "data", manifest


@pytest.mark.parametrize("shuffle", [False, True])
def test_labels_and_which_of_them_are_known(attributes, shuffle):
    kind, states, folder, manifest = attributes
    seen = 0
    for split, about in manifest["splits"].items():
        options = {"shuffle": True, "repeat": True} if shuffle else {}
        batches = load_split(folder, split, batch_size=7, **options)
        assert len(batches.element_spec) == (2 if kind == "complete" else 3)
        assert batches.element_spec[1].shape.as_list() == [None, 4]
        sums = np.zeros((2, 4))
        steps = math.ceil(about["num_examples"] / 7)
        for images, labels, *weights in batches.take(steps).as_numpy_iterator():
            index = images[:, 0, 0, 0].astype(int)
            known = np.ones_like(labels)
            if kind == "partial":
                known = ((index[:, None] + np.arange(4)) % 3 != 0).astype("float32")
                assert weights[0].dtype == np.float32
                assert (weights[0] == known).all()
            assert labels.dtype == np.float32
            assert (labels == states[index] * known).all()
            sums += np.stack([labels.sum(0), (known - labels).sum(0)])
            seen += len(labels)
        assert sums.tolist() == [about["class_counts"], about["absent_counts"]]
    assert seen == 60
