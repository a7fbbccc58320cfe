import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gb_keras.data.images import (
    UnreadableImageError,
    cut_out,
    decode_image,
    encode_png,
    fingerprint,
    is_grey,
    read_pixels,
    resize_image,
)


def saved(image, file_format, **options):
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def picture(height=20, width=30):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF"])
def test_lossless_formats(file_format):
    pixels = picture()
    np.testing.assert_array_equal(decode_image(saved(Image.fromarray(pixels), file_format)), pixels)


def test_webp_lossless():
    pixels = picture()
    data = saved(Image.fromarray(pixels), "WEBP", lossless=True)
    np.testing.assert_array_equal(decode_image(data), pixels)


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGB", "RGBA", "CMYK", "LA", "I;16", "I"])
def test_every_mode_becomes_8_bit_rgb(mode):
    constant = {"I;16": 200 * 256, "I": 200 * 256, "1": 1, "LA": (200, 255)}.get(mode, 200)
    if mode in ("RGB", "RGBA"):
        constant = (200, 200, 200, 255)[: len(mode)]
    if mode == "CMYK":
        constant = (0, 0, 0, 55)
    if mode == "P":
        image = Image.new("RGB", (5, 4), (200, 200, 200)).convert("P")
    else:
        image = Image.new(mode, (5, 4), constant)
    decoded = decode_image(saved(image, "TIFF" if mode in ("CMYK", "I") else "PNG"))
    assert decoded.shape == (4, 5, 3)
    assert decoded.dtype == np.uint8
    # The web-safe palette of mode P has 204 for 200, and mode 1 is black or white.
    expected = {"1": 255, "P": 204}.get(mode, 200)
    assert (decoded == expected).all()


def test_cmyk_jpeg():
    data = saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100)
    red = decode_image(data)[0, 0].astype(int)
    assert red[0] > 245
    assert red[1:].max() < 10


def test_transparent_pixels_are_laid_on_white():
    pixels = np.array([[[9, 9, 9, 0], [9, 9, 9, 255]]], np.uint8)
    decoded = decode_image(saved(Image.fromarray(pixels), "PNG"))
    assert decoded.tolist() == [[[255] * 3, [9] * 3]]


def test_a_palette_with_bytes_of_transparency_warns_nobody():
    image = Image.fromarray(np.array([[0, 1]], np.uint8))
    image = image.convert("P")
    data = saved(image, "PNG", transparency=bytes([0, 255]))
    assert decode_image(data)[0, 0].tolist() == [255, 255, 255]


def test_exif_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees clockwise
    pixels = np.zeros((10, 20, 3), np.uint8)
    pixels[:, :10] = 255  # white on the left of the file is at the top of the picture
    decoded = decode_image(saved(Image.fromarray(pixels), "PNG", exif=exif))
    assert decoded.shape == (20, 10, 3)
    assert decoded[:10].min() == 255
    assert decoded[10:].max() == 0


def test_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode_image(data)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "BMP", "GIF", "WEBP"])
def test_truncated_files_are_broken(file_format):
    data = saved(Image.fromarray(picture(64, 64)), file_format)
    with pytest.raises(UnreadableImageError, match=r"broken|not an image"):
        decode_image(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("data", "reason"), [(b"", "empty"), (b"hello, I am a text", "not an image")]
)
def test_no_image_at_all(data, reason):
    with pytest.raises(UnreadableImageError, match=reason):
        decode_image(data)


def test_float_images_are_refused_and_not_guessed():
    with pytest.raises(UnreadableImageError, match="16 bits"):
        decode_image(saved(Image.new("F", (3, 3), 0.5), "TIFF"))


def test_resize_keeps_the_aspect_and_the_centre():
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 255
    resized = resize_image(pixels, 10)
    assert resized.shape == (10, 10, 3)
    assert resized.min() == 255
    assert resize_image(np.zeros((2, 2, 3), np.uint8), 7).shape == (7, 7, 3)


def test_fingerprint_and_greyness():
    pixels = picture()
    other = pixels.copy()
    other[0, 0, 0] ^= 1
    assert fingerprint(pixels) == fingerprint(decode_image(encode_png(pixels)))
    assert fingerprint(pixels) != fingerprint(other)
    assert not is_grey(pixels)
    assert is_grey(np.repeat(pixels[..., :1], 3, axis=-1))


def test_the_whole_image_cut_out_is_the_image():
    pixels = picture()
    image = read_pixels(saved(Image.fromarray(pixels), "PNG"))
    np.testing.assert_array_equal(cut_out(image, (0.0, 0.0, 1.0, 1.0), turn=None), pixels)


@given(
    edges=st.tuples(*[st.floats(0, 1)] * 4),
    height=st.integers(1, 30),
    width=st.integers(1, 30),
)
def test_what_is_cut_out_covers_the_box_and_no_pixel_more(edges, height, width):
    left, right = sorted(edges[:2])
    top, bottom = sorted(edges[2:])
    rows, columns = np.mgrid[:height, :width].astype(np.uint8)
    image = Image.fromarray(np.stack([rows, columns, rows], axis=-1))
    part = cut_out(image, (left, top, right, bottom), turn=0)
    for axis, (start, end, size) in enumerate([(top, bottom, height), (left, right, width)]):
        found = np.unique(part[..., axis])
        assert found.tolist() == list(range(found[0], found[-1] + 1))
        # A box without extent, or one at the very end, still gets the pixel next to it.
        assert found[0] == min(int(start * size), size - 1)
        assert found[-1] + 1 == max(found[0] + 1, np.ceil(end * size))


def test_cutting_out_of_too_deep_an_image_is_refused():
    with pytest.raises(UnreadableImageError, match="16 bits"):
        cut_out(Image.new("I", (4, 4), 1_000_000), (0.0, 0.0, 1.0, 1.0), turn=None)
