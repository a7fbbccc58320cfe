"""A font file: which characters it covers, and its glyphs as pictures."""

import logging
import os
import struct

import numpy as np
from fontTools.ttLib import TTFont, TTLibError
from PIL import Image, ImageDraw, ImageFont

# Glyphs are drawn this many times too large and averaged down, so that hinting, and bitmaps that
# a font has for small sizes, do not show.
_OVERSAMPLING = 4


def covered(path: str | os.PathLike, wanted: str) -> str:
    """Those of the wanted characters that a font has a glyph for, in the same order.

    Args:
        path: A TrueType or OpenType file. Of a collection (`.ttc`) the first face counts: the
            others draw nearly all characters as it does.
        wanted: Characters to look for.

    Raises:
        ValueError: The file cannot be read as a font.

    Example:
        >>> import matplotlib
        >>> covered(matplotlib.get_data_path() + "/fonts/ttf/DejaVuSans.ttf", "aé猫")
        'aé'
    """
    # fontTools reports oddities of a font's tables that do not matter for its coverage.
    logging.getLogger("fontTools").setLevel(logging.CRITICAL)
    try:
        with TTFont(path, fontNumber=0, lazy=True) as font:
            names = font.getBestCmap() or {}
            # The first glyph stands for what a font does not have: mostly an empty box.
            missing = font.getGlyphOrder()[0]
    except (TTLibError, KeyError, AssertionError, struct.error) as error:
        raise ValueError(_damaged(path, error)) from error
    return "".join(c for c in wanted if names.get(ord(c), missing) != missing)


def draw_glyphs(
    path: str | os.PathLike, characters: str, size: int, margin: int = 2
) -> dict[str, np.ndarray]:
    """Draw characters of a font, white on black, all at one scale and on one base line.

    The scale is the largest at which each of the characters fits, so that `c` stays smaller than
    `C` and `p` lower than `b`. Each glyph is centred from left to right.

    Args:
        path: As in `covered`.
        characters: What to draw; the font covers all of them.
        size: Height and width of the pictures, in pixels.
        margin: Pixels around them that stay black.

    Returns:
        By character, uint8 `(size, size)`; characters whose glyph is blank are left out.

    Raises:
        ValueError: A glyph cannot be drawn, because the font is damaged.

    Example:
        >>> import matplotlib
        >>> font = matplotlib.get_data_path() + "/fonts/ttf/DejaVuSans.ttf"
        >>> glyphs = draw_glyphs(font, "cC ", size=28)
        >>> {character: int(image.any(axis=1).sum()) for character, image in glyphs.items()}
        {'c': 19, 'C': 24}
    """
    try:
        # The basic layout draws a glyph as it is; the other one needs a library that not every
        # machine has.
        font = ImageFont.truetype(
            str(path), size * _OVERSAMPLING, layout_engine=ImageFont.Layout.BASIC
        )
        # Left, top, right and bottom of the ink, from the start of the base line.
        boxes = {c: font.getbbox(c, anchor="ls") for c in characters}
        boxes = {c: box for c, box in boxes.items() if box[0] < box[2] and box[1] < box[3]}
        if not boxes:
            return {}
        left, top, right, bottom = np.array(list(boxes.values())).T
        largest = max((right - left).max(), bottom.max() - top.min())
        side = round(largest * size / (size - 2 * margin))
        base_line = round((side - bottom.max() - top.min()) / 2)
        return {
            c: _draw(font, c, size, side, (round((side - box[0] - box[2]) / 2), base_line))
            for c, box in boxes.items()
        }
    except OSError as error:
        raise ValueError(_damaged(path, error)) from error


def _draw(
    font: ImageFont.FreeTypeFont, character: str, size: int, side: int, position: tuple[int, int]
) -> np.ndarray:
    large = Image.new("L", (side, side))
    ImageDraw.Draw(large).text(position, character, fill=255, font=font, anchor="ls")
    return np.asarray(large.resize((size, size), Image.Resampling.BOX))


def _damaged(path: str | os.PathLike, error: Exception) -> str:
    return (
        f"Expected a TrueType or OpenType font. Received: {str(path)!r}, which cannot be used "
        f"({error}). Install the package that it belongs to again."
    )
