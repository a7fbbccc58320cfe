"""Letters, digits and Chinese characters as the fonts of Debian packages draw them."""

import functools
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from gb_keras.data import fonts_cjk, fonts_latin
from gb_keras.data.font_file import covered, draw_glyphs
from gb_keras.data.font_search import find_fonts, font_directories
from gb_keras.data.source import Example, grey_as_rgb

LETTERS_AND_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

# The brightest pixel of a glyph that can be seen; hairlines that average to less are left out.
_VISIBLE = 96


class GlyphSource:
    """A source whose images are drawn from fonts, in memory when they are first asked for.

    Blank and hardly visible glyphs are left out, and so are pictures of a class that another font
    has drawn exactly alike, in whichever split.

    Args:
        name: The data set's name.
        characters: The classes.
        fonts: By split, the font files by the names that examples shall have.
        size: Height and width of the images, in pixels.
        whole: Whether fonts that lack one of the characters are left out as a whole.

    Attributes:
        made_of: SHA-256 of each font file, by its name.

    Example:
        >>> import matplotlib
        >>> folder = Path(matplotlib.get_data_path(), "fonts/ttf")
        >>> fonts = {
        ...     "train": {"Sans": folder / "DejaVuSans.ttf"},
        ...     "test": {"Serif": folder / "DejaVuSerif.ttf"},
        ... }
        >>> source = GlyphSource("abc", "abc", fonts, size=28)
        >>> [example.id for example in source.examples("test")]
        ['Serif/a', 'Serif/b', 'Serif/c']
    """

    def __init__(
        self,
        name: str,
        characters: str,
        fonts: Mapping[str, Mapping[str, Path]],
        size: int,
        whole: bool = False,
    ) -> None:
        self.name = name
        self.classes = tuple(characters)
        self.splits: tuple[str, ...] = tuple(fonts)
        self._fonts = fonts
        self._size = size
        self._whole = whole

    @functools.cached_property
    def made_of(self) -> dict[str, str]:
        """SHA-256 of each font file, by its name."""
        return {
            name: hashlib.sha256(path.read_bytes()).hexdigest()
            for files in self._fonts.values()
            for name, path in files.items()
        }

    def examples(self, split: str) -> Iterator[Example]:
        """Every picture of a split, font by font."""
        for name, label, image in self._drawn[split]:
            yield Example(f"{name}/{self.classes[label]}", label, grey_as_rgb(image))

    @functools.cached_property
    def _drawn(self) -> dict[str, list[tuple[str, int, np.ndarray]]]:
        """By split, the font's name, the label and the image of each picture."""
        drawn: dict[str, list[tuple[str, int, np.ndarray]]] = {}
        known: set[tuple[str, bytes]] = set()
        # Of two pictures that are the same, the one to test with stays.
        for split in reversed(self.splits):
            drawn[split] = []
            for name, path in self._fonts[split].items():
                for character, image in self._draw(path).items():
                    key = (character, hashlib.sha256(image.tobytes()).digest())
                    if key not in known:
                        known.add(key)
                        drawn[split].append((name, self._labels[character], image))
        return drawn

    @functools.cached_property
    def _labels(self) -> dict[str, int]:
        return {character: label for label, character in enumerate(self.classes)}

    def _draw(self, path: Path) -> dict[str, np.ndarray]:
        images = draw_glyphs(path, covered(path, "".join(self.classes)), self._size)
        images = {c: image for c, image in images.items() if image.max() >= _VISIBLE}
        return {} if self._whole and len(images) < len(self.classes) else images


def glyphs() -> GlyphSource:
    """62 classes, A to Z, a to z and 0 to 9, 28 x 28 pixels, made as notMNIST was.

    Test images are of fonts whose designs are not in the training images.

    Raises:
        FileNotFoundError: Font packages are missing; the message has the command to install them.

    Reference:
        Bulatov, "notMNIST dataset", 2011.
    """
    fonts = find_fonts(fonts_latin.SPLITS, font_directories())
    return GlyphSource("glyphs", LETTERS_AND_DIGITS, fonts, size=28, whole=True)


def glyphs_cjk() -> GlyphSource:
    """2,227 classes, the most common Chinese characters, 32 x 32 pixels.

    They are the characters of GB 2312, level 1, that are also in Big5 and in JIS X 0208, so that
    Chinese, Japanese and many Korean fonts have them. Test images are of fonts whose designs are
    not in the training images.

    Raises:
        FileNotFoundError: Font packages are missing; the message has the command to install them.
    """
    fonts = find_fonts(fonts_cjk.SPLITS, font_directories())
    return GlyphSource("glyphs-cjk", common_characters(), fonts, size=32)


def common_characters() -> str:
    """The characters of GB 2312, level 1, that Big5 and JIS X 0208 have too, by code point.

    Example:
        >>> len(common_characters()), common_characters()[:5]
        (2227, '一丁七万丈')
    """
    # Level 1 fills the rows that start with these bytes.
    level_1 = (
        bytes([row, column]).decode("gb2312", "ignore")
        for row in range(0xB0, 0xD8)
        for column in range(0xA1, 0xFF)
    )
    return "".join(sorted(c for c in level_1 if _in(c, "big5") and _in(c, "shift_jis")))


def _in(character: str, encoding: str) -> bool:
    return bool(character.encode(encoding, "ignore"))
