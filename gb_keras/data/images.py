"""Image files as 8-bit RGB arrays, and back as PNG."""

import contextlib
import hashlib
import io
import math
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageOps


class UnreadableImageError(ValueError):
    """One example of a source cannot be read; the message is the reason."""


def decode_image(data: bytes) -> np.ndarray:
    """Decode an image file to RGB, as a viewer would show it.

    The EXIF orientation is applied. Transparent pixels are laid on white. 16-bit samples keep
    their high byte. Of an animation the first frame is taken.

    Args:
        data: The file's content: JPEG, PNG, BMP, GIF, WEBP or TIFF, whatever its name says.

    Returns:
        uint8, shape `(height, width, 3)`.

    Raises:
        UnreadableImageError: The file is empty, cut short, damaged, or no image.

    Example:
        >>> decode_image(b"")
        Traceback (most recent call last):
        ...
        gb_keras.data.images.UnreadableImageError: empty (0 bytes)
        >>> decode_image(encode_png(np.full((2, 3, 3), 7, np.uint8))).shape
        (2, 3, 3)
    """
    with _as_unreadable():
        return np.asarray(_to_rgb(ImageOps.exif_transpose(read_pixels(data))))


def read_pixels(data: bytes) -> Image.Image:
    """Read an image file with its pixels as they are stored: not turned, in the file's own mode.

    Args:
        data: As in `decode_image`.

    Raises:
        UnreadableImageError: As in `decode_image`.
    """
    if not data:
        raise UnreadableImageError("empty (0 bytes)")
    with _as_unreadable(), Image.open(io.BytesIO(data)) as image:
        image.load()
        return image


def cut_out(
    image: Image.Image, box: tuple[float, float, float, float], turn: int | None
) -> np.ndarray:
    """Cut a box out of an image, then turn what was cut out upright.

    Args:
        image: What `read_pixels` returned.
        box: Left, top, right and bottom edge in the stored picture, as shares of its width and
            height in [0, 1]. All pixels that the box touches are in the result.
        turn: By how many degrees to turn it counterclockwise: 0, 90, 180 or 270; None turns it as
            the EXIF orientation says, if there is one.

    Returns:
        uint8, shape `(height, width, 3)`, at least one pixel each way.

    Raises:
        UnreadableImageError: The image has samples of more than 16 bits.

    Example:
        >>> image = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(2, 6))
        >>> cut_out(image, (0.5, 0.0, 1.0, 0.5), turn=None)[..., 0].tolist()
        [[3, 4, 5]]
        >>> cut_out(image, (0.5, 0.0, 1.0, 0.5), turn=90)[..., 0].tolist()
        [[5], [4], [3]]
    """
    left, top, right, bottom = (
        share * size for share, size in zip(box, image.size * 2, strict=True)
    )
    x, y = min(int(left), image.width - 1), min(int(top), image.height - 1)
    region = (x, y, max(x + 1, math.ceil(right)), max(y + 1, math.ceil(bottom)))
    with _as_unreadable():
        part = image.crop(region)
        # Cropping keeps the orientation's tag.
        upright = ImageOps.exif_transpose(part) if turn is None else _turned(part, turn)
        return np.asarray(_to_rgb(upright))


def resize_image(image: np.ndarray, size: int) -> np.ndarray:
    """Scale the shorter side to `size` pixels and cut out the centre, so the aspect is kept.

    Args:
        image: uint8, shape `(height, width, 3)`.
        size: Height and width of the result, in pixels.

    Returns:
        uint8, shape `(size, size, 3)`.

    Example:
        >>> resize_image(np.zeros((10, 30, 3), np.uint8), 5).shape
        (5, 5, 3)
    """
    fitted = ImageOps.fit(Image.fromarray(image), (size, size), Image.Resampling.BICUBIC)
    return np.asarray(fitted)


def is_grey(image: np.ndarray) -> bool:
    """Whether the three channels of an RGB image are the same.

    Example:
        >>> is_grey(np.zeros((2, 2, 3), np.uint8))
        True
    """
    return bool((image[..., :1] == image[..., 1:]).all())


def fingerprint(image: np.ndarray) -> bytes:
    """A hash of an image's pixels and shape: equal for equal pictures, whatever their files.

    Example:
        >>> fingerprint(np.zeros((2, 3, 3), np.uint8)) == fingerprint(np.zeros((3, 2, 3), np.uint8))
        False
    """
    shape = np.array(image.shape, dtype="<i8").tobytes()
    return hashlib.sha256(shape + np.ascontiguousarray(image).tobytes()).digest()


def encode_png(image: np.ndarray) -> bytes:
    """Encode an image without loss.

    Args:
        image: uint8, shape `(height, width, 1)` or `(height, width, 3)`.

    Returns:
        The content of a PNG file.

    Example:
        >>> encode_png(np.zeros((2, 2, 1), np.uint8))[1:4]
        b'PNG'
    """
    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "PNG")
    return file.getvalue()


@contextlib.contextmanager
def _as_unreadable() -> Iterator[None]:
    """What a decoder raises as an `UnreadableImageError`."""
    try:
        yield
    except (MemoryError, UnreadableImageError):
        raise
    except Exception as error:
        # Decoders of damaged files raise nearly anything: OSError, SyntaxError, struct.error, ...
        raise UnreadableImageError(_reason(error)) from error


def _turned(image: Image.Image, degrees: int) -> Image.Image:
    turns = {
        90: Image.Transpose.ROTATE_90,
        180: Image.Transpose.ROTATE_180,
        270: Image.Transpose.ROTATE_270,
    }
    return image.transpose(turns[degrees]) if degrees else image


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any mode of Pillow's as RGB."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _deep_grey_to_rgb(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _deep_grey_to_rgb(image: Image.Image) -> Image.Image:
    """Grey of 16 bits, which Pillow's own conversion would clip at 255."""
    samples = np.asarray(image)
    if image.mode == "F" or samples.min(initial=0) < 0 or samples.max(initial=0) > 65535:
        raise UnreadableImageError("samples of more than 16 bits; expected 8 or 16 bits")
    return Image.fromarray((samples >> 8).astype(np.uint8)).convert("RGB")


def _reason(error: Exception) -> str:
    """One line for a list of broken files, without addresses that change from run to run."""
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image"
    text = " ".join(str(error).split())
    return f"broken ({text or type(error).__name__})"
