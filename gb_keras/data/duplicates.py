"""Images that are the same, or look the same, whatever their files are called."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import imagehash
import numpy as np
from PIL import Image

from gb_keras.data.images import fingerprint
from gb_keras.data.ties import connected

# Of the 64 bits of a perceptual hash. Hashes this near share one of four parts of 16 bits.
MAX_DISTANCE = 3
# Mean difference of two thumbnails in grey levels, of 255: a hash alone sees edges, not grey.
MAX_DIFFERENCE = 5.0
_THUMBNAIL = 16
_BITS_OF_BYTE = np.array([bin(value).count("1") for value in range(256)], dtype=np.uint8)


@dataclass(frozen=True)
class Looks:
    """What is remembered of an image to find others like it.

    Attributes:
        fingerprint: Hash of its pixels.
        perceptual: Perceptual hash, uint8, `(8,)`.
        thumbnail: Grey levels, uint8, `(256,)`.
    """

    fingerprint: bytes
    perceptual: np.ndarray
    thumbnail: np.ndarray


def looks(image: np.ndarray) -> Looks:
    """Take what is to be remembered of an image.

    Args:
        image: uint8, `(height, width, 3)`.

    Example:
        >>> looks(np.zeros((20, 30, 3), np.uint8)).thumbnail.shape
        (256,)
    """
    picture = Image.fromarray(image).convert("L")
    small = picture.resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX)
    return Looks(
        fingerprint=fingerprint(image),
        perceptual=np.packbits(imagehash.phash(picture).hash),
        thumbnail=np.asarray(small, dtype=np.uint8).ravel(),
    )


def groups_alike(images: Iterable[Looks]) -> list[list[int]]:
    """Groups of images that look alike, of at least two, in the order of their first.

    Two look alike whose pixels are the same, or whose perceptual hashes differ in at most
    `MAX_DISTANCE` bits and whose thumbnails differ by at most `MAX_DIFFERENCE` grey levels on
    average; as JPEGs of the same picture in other sizes and qualities do.

    Args:
        images: What was remembered of each image.

    Returns:
        Positions of the images of each group, ascending.

    Example:
        >>> bright, dark = (np.full((9, 9, 3), level, np.uint8) for level in (200, 10))
        >>> groups_alike([looks(bright), looks(dark), looks(bright[:8])])
        [[0, 2]]

    Reference: pHash by the library ImageHash, after Zauner, Implementation and Benchmarking of
        Perceptual Image Hash Functions, 2010.
    """
    images = list(images)
    if not images:
        return []
    first_of: dict[bytes, int] = {}
    same = [(first_of.setdefault(each.fingerprint, i), i) for i, each in enumerate(images)]
    distinct = np.array(sorted(first_of.values()))
    perceptual = np.stack([images[i].perceptual for i in distinct])
    thumbnails = np.stack([images[i].thumbnail for i in distinct])
    alike = [
        (distinct[one], distinct[other])
        for one, other in _near(perceptual)
        if np.abs(thumbnails[one].astype(int) - thumbnails[other]).mean() <= MAX_DIFFERENCE
    ]
    members: dict[int, list[int]] = {}
    for position, of in enumerate(connected(same + alike, len(images)).tolist()):
        members.setdefault(of, []).append(position)
    return [group for group in members.values() if len(group) > 1]


def _near(hashes: np.ndarray) -> Iterator[tuple[int, int]]:
    """Pairs of hashes `(num_hashes, 8)` that differ in few bits, some of them several times."""
    parts = np.ascontiguousarray(hashes).view(np.uint16)
    for part in parts.T:
        order = np.argsort(part, kind="stable")
        starts = np.flatnonzero(np.diff(part[order], prepend=-1))
        for bucket in np.split(order, starts[1:]):
            for position, one in enumerate(bucket[:-1]):
                others = bucket[position + 1 :]
                distances = _BITS_OF_BYTE[hashes[one] ^ hashes[others]].sum(axis=1)
                for other in others[distances <= MAX_DISTANCE]:
                    yield int(one), int(other)
