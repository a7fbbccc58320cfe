"""What augmentation does to images and labels, checked against the images it started from."""

import math
import random

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from gb_keras.data.augmentation import NAMES, Augmentation
from gb_keras.data.pipeline import load_split
from gb_keras.stages.prepare import prepare

SHAPE = (16, 12, 3)


def picture(seed=0, shape=SHAPE):
    return np.random.default_rng(seed).integers(0, 256, shape).astype("float32")


def of_image(names, image, num_times, shape=SHAPE):
    augmentation = Augmentation(names, shape)
    seeds, image = tf.data.Dataset.range(num_times), tf.constant(image)
    seen = seeds.map(lambda i: augmentation.of_image(image, tf.stack([tf.cast(i, tf.int32), 7])))
    return np.stack(list(seen.as_numpy_iterator()))


def of_batch(names, images, labels, seed=(3, 4)):
    augmentation = Augmentation(names, images.shape[1:])
    seen = tf.data.Dataset.from_tensors((images, labels)).map(
        lambda images, labels: augmentation.of_batch(images, labels, tf.constant(seed))
    )
    return next(seen.as_numpy_iterator())


def test_a_crop_is_a_piece_of_the_mirrored_image():
    image = picture()
    padded = np.pad(image, [(2, 2), (2, 2), (0, 0)], "symmetric")  # An eighth, rounded.
    pieces = {
        padded[top : top + 16, left : left + 12].tobytes(): (top, left)
        for top in range(5)
        for left in range(5)
    }
    places = [pieces[seen.tobytes()] for seen in of_image(["crop"], image, 300)]
    assert len(set(places)) == 25


def test_half_of_the_images_are_flipped():
    images = np.stack([picture(seed) for seed in range(400)])
    seen, labels = of_batch(["flip"], images, np.arange(400))
    kept = (seen == images).all(axis=(1, 2, 3))
    flipped = (seen == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (kept ^ flipped).all()
    assert 150 < flipped.sum() < 250
    assert (labels == np.arange(400)).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_rand_augment_draws_for_each_image(channels):
    shape = (*SHAPE[:2], channels)
    image = np.linspace(0, 255, math.prod(shape)).reshape(shape).astype("float32")
    seen = of_image(["rand_augment"], image, 60, shape)
    assert seen.shape == (60, *shape)
    assert seen.min() >= 0
    assert seen.max() <= 255
    assert len({each.tobytes() for each in seen}) > 40
    # It is still the same image: nearer to it than to its negative.
    assert (np.abs(seen - image).mean((1, 2, 3)) < np.abs(255 - seen - image).mean((1, 2, 3))).all()


def test_mixup_blends_labels_as_it_blends_images():
    labels = np.eye(10, dtype="float32")[np.arange(64) % 10]
    values = np.arange(10, dtype="float32") * 20
    images = np.broadcast_to((labels @ values)[:, None, None, None], (64, *SHAPE)).copy()
    seen, mixed = of_batch(["mixup"], images, labels)
    np.testing.assert_allclose(mixed.sum(axis=1), 1, rtol=1e-6)
    blended = np.broadcast_to((mixed @ values)[:, None, None, None], seen.shape)
    np.testing.assert_allclose(seen, blended, rtol=1e-4, atol=1e-3)
    assert (mixed.max(axis=1) < 0.99).sum() > 15


def test_cutmix_gives_labels_their_share_of_the_area():
    side = 64
    labels = np.eye(2, dtype="float32")[np.arange(64) % 2]
    images = np.broadcast_to(labels[:, :1, None, None] * 200, (64, side, side, 1)).copy()
    seen, mixed = of_batch(["cutmix"], images, labels)
    assert set(np.unique(seen)) == {0, 200}  # Nothing is blended.
    share = (seen == 200).mean(axis=(1, 2, 3))
    # A rectangle of real numbers holds up to a row and a column of pixels more or fewer.
    np.testing.assert_allclose(mixed[:, 0], share, atol=2 / side)
    assert ((share > 0.05) & (share < 0.95)).sum() > 15


def test_of_mixup_and_cutmix_each_batch_has_one():
    labels = np.eye(2, dtype="float32")[np.arange(32) % 2]
    images = np.broadcast_to(labels[:, :1, None, None] * 200, (32, 8, 8, 1)).copy()
    blended = [
        len(np.unique(of_batch(["mixup", "cutmix"], images, labels, (seed, 0))[0])) > 2
        for seed in range(12)
    ]
    assert 2 <= sum(blended) <= 10


@settings(max_examples=8, deadline=None)
@given(
    names=st.lists(st.sampled_from(NAMES), unique=True),
    height=st.integers(2, 20),
    width=st.integers(2, 20),
    channels=st.sampled_from([1, 3]),
)
def test_shapes_and_values_stay(names, height, width, channels):
    shape = (height, width, channels)
    augmentation = Augmentation(names, shape)
    image = picture(1, shape)
    seen = augmentation.of_image(tf.constant(image), tf.constant([1, 2]))
    images, labels = augmentation.of_batch(
        tf.stack([seen, tf.constant(image)]), tf.eye(2), tf.constant([3, 4])
    )
    assert images.shape == (2, *shape)
    assert float(tf.reduce_min(images)) >= -1e-3
    assert float(tf.reduce_max(images)) <= 255.001
    np.testing.assert_allclose(tf.reduce_sum(labels, axis=1), 1, rtol=1e-5)
    if not names:
        assert (seen.numpy() == image).all()


def test_names_are_checked():
    with pytest.raises(ValueError, match="Did you mean 'cutmix'"):
        Augmentation(["cutmux"], SHAPE)
    with pytest.raises(ValueError, match="each augmentation once"):
        Augmentation(["crop", "crop"], SHAPE)


def test_the_programs_own_random_numbers_are_left_alone():
    random.seed(1)
    expected = random.random()
    random.seed(1)
    Augmentation(NAMES, SHAPE)
    assert random.random() == expected


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    return folder, prepare("digits", folder)


def test_an_augmented_stream_goes_on_at_any_step(digits):
    folder, manifest = digits
    steps = math.ceil(manifest["splits"]["validation"]["num_examples"] / 50)

    def batches(num_batches, **options):
        stream = load_split(
            folder,
            "validation",
            batch_size=50,
            shuffle=True,
            repeat=True,
            seed=5,
            augmentation=NAMES,
            **options,
        )
        return [
            (images.tobytes(), labels.tobytes())
            for images, labels in stream.take(num_batches).as_numpy_iterator()
        ]

    tf.random.set_seed(1)
    expected = batches(3 * steps)
    tf.random.set_seed(2)
    assert batches(2 * steps, start_epoch=1) == expected[steps:]
    for step in (1, steps - 1):
        rest = batches(2 * steps - step, start_epoch=1, start_step=step)
        assert rest == expected[steps + step :]
    assert len(set(expected)) == len(expected)


def test_a_resumed_epoch_sees_no_image_twice(digits):
    folder, manifest = digits
    steps = math.ceil(manifest["splits"]["validation"]["num_examples"] / 50)

    def images(num_batches, **options):
        stream = load_split(
            folder, "validation", batch_size=50, shuffle=True, repeat=True, seed=5, **options
        )
        return [
            image.tobytes()
            for images, _ in stream.take(num_batches).as_numpy_iterator()
            for image in images
        ]

    whole = sorted(
        image.tobytes()
        for batch, _ in load_split(folder, "validation", batch_size=50).as_numpy_iterator()
        for image in batch
    )
    seen = images(2, start_epoch=4) + images(steps - 2, start_epoch=4, start_step=2)
    assert sorted(seen) == whole


def test_labels_are_one_hot_where_asked_for_or_mixed(digits):
    folder, _ = digits
    plain = load_split(folder, "test", batch_size=20)
    one_hot = load_split(folder, "test", batch_size=20, one_hot=True)
    for (images, labels), (same, encoded) in zip(plain.take(2), one_hot.take(2), strict=True):
        assert (images.numpy() == same.numpy()).all()
        assert (encoded.numpy() == np.eye(10)[labels]).all()
    mixed = load_split(
        folder, "test", batch_size=20, shuffle=True, repeat=True, augmentation=["mixup"]
    )
    assert mixed.element_spec[1].shape.as_list() == [None, 10]
    assert mixed.element_spec[1].dtype == tf.float32


def test_a_blended_label_is_known_where_both_parts_are(tmp_path):
    # Two classes; of half of the images the second one is not known.
    from PIL import Image

    rng = np.random.default_rng(0)
    lines = ["path,a,b"]
    for index in range(40):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(tmp_path / f"{index}.png")
        lines.append(f"{index}.png,{index % 2},{'' if index % 4 < 2 else index % 3 % 2}")
    (tmp_path / "table.csv").write_text("\n".join(lines))
    folder = tmp_path / "data"
    prepare(f"csv:{tmp_path / 'table.csv'}?labels=a,b", folder)
    stream = load_split(
        folder, "train", batch_size=16, shuffle=True, repeat=True, augmentation=["mixup"]
    )
    for images, labels, known in stream.take(6):
        labels, known = labels.numpy(), known.numpy()
        assert labels.shape == known.shape == (len(images), 2)
        assert set(np.unique(known)) <= {0.0, 1.0}
        assert (labels[known == 0] == 0).all()
        assert ((labels >= 0) & (labels <= 1)).all()
        assert known.min() == 0
        assert known.max() == 1


def test_augmentation_needs_a_training_stream(digits):
    with pytest.raises(ValueError, match=r"shuffle=True and repeat=True where augmentation"):
        load_split(digits[0], "test", batch_size=8, augmentation=["flip"])
