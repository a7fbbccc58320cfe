import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from gb_keras.data.duplicates import MAX_DISTANCE, _near, groups_alike, looks


def picture(seed, size=96):
    """Some shapes on a shaded ground, different for each seed."""
    generator = np.random.default_rng(seed)
    ground = np.linspace(generator.integers(0, 90), generator.integers(120, 255), size)
    image = Image.fromarray(np.tile(ground, (size, 1)).astype("uint8")).convert("RGB")
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        left, top = generator.integers(0, size - 20, 2).tolist()
        width, height = generator.integers(10, 40, 2).tolist()
        colour = tuple(generator.integers(0, 255, 3).tolist())
        draw.ellipse([left, top, left + width, top + height], fill=colour)
    return image


def looks_of(image):
    return looks(np.asarray(image.convert("RGB")))


def as_jpeg(image, quality):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.copy(),
        lambda image: as_jpeg(image, 60),
        lambda image: image.resize((64, 64)),
        lambda image: image.resize((250, 250)),
        lambda image: image.convert("L"),
    ],
    ids=["same", "compressed", "smaller", "larger", "grey"],
)
def test_a_changed_copy_is_found_among_others(change):
    images = [picture(seed) for seed in range(40)]
    groups = groups_alike([looks_of(image) for image in [*images, change(images[7])]])
    assert groups == [[7, 40]]


def test_no_two_different_pictures_look_alike():
    assert groups_alike([looks_of(picture(seed)) for seed in range(300)]) == []


def test_grey_levels_tell_plain_images_apart():
    plain = [Image.new("RGB", (20, 20), (level,) * 3) for level in (0, 100, 200)]
    assert groups_alike([looks_of(image) for image in plain]) == []


def test_groups_hold_all_that_are_tied():
    one, other = picture(0), picture(1)
    images = [other, one, picture(2), one.copy(), as_jpeg(other, 70), one.copy()]
    assert groups_alike([looks_of(image) for image in images]) == [[0, 4], [1, 3, 5]]
    assert groups_alike([]) == []


@given(
    hashes=st.lists(st.binary(min_size=8, max_size=8), min_size=1, max_size=30),
    flips=st.lists(st.sets(st.integers(0, 63), max_size=5), max_size=30),
)
def test_near_hashes_are_all_found(hashes, flips):
    """Against comparing each with each."""
    bits = [np.unpackbits(np.frombuffer(each, np.uint8)) for each in hashes]
    for original, flipped in zip(tuple(bits), flips, strict=False):
        changed = original.copy()
        changed[list(flipped)] ^= 1
        bits.append(changed)
    bits = np.unique(np.stack(bits), axis=0)
    expected = {
        (i, j)
        for i in range(len(bits))
        for j in range(i + 1, len(bits))
        if (bits[i] != bits[j]).sum() <= MAX_DISTANCE
    }
    assert {tuple(sorted(pair)) for pair in _near(np.packbits(bits, axis=1))} == expected
