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
        with open(path, "rb") as file, TTFont(file, fontNumber=0, lazy=True) as font:
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
        inks = {c: ink for c in characters if (ink := _ink(font, c))}
    except OSError as error:
        raise ValueError(_damaged(path, error)) from error
    if not inks:
        return {}
    highest = min(top for _, top in inks.values())
    lowest = max(top + image.height for image, top in inks.values())
    widest = max(image.width for image, _ in inks.values())
    side = round(max(widest, lowest - highest) * size / (size - 2 * margin))
    base_line = round((side - highest - lowest) / 2)
    return {c: _fitted(image, side, base_line + top, size) for c, (image, top) in inks.items()}


def _ink(font: ImageFont.FreeTypeFont, character: str) -> tuple[Image.Image, int] | None:
    """The part of a glyph that shows, and how far below the base line it starts; or nothing."""
    # Pillow's box reaches from the glyph's origin to that of the next one.
    left, top, right, bottom = map(round, font.getbbox(character, anchor="ls"))
    image = Image.new("L", (max(right - left, 0), max(bottom - top, 0)))
    ImageDraw.Draw(image).text((-left, -top), character, fill=255, font=font, anchor="ls")
    box = image.getbbox()
    return (image.crop(box), top + box[1]) if box else None


def _fitted(ink: Image.Image, side: int, top: int, size: int) -> np.ndarray:
    square = Image.new("L", (side, side))
    square.paste(ink, (round((side - ink.width) / 2), top))
    return np.asarray(square.resize((size, size), Image.Resampling.BOX))


def _damaged(path: str | os.PathLike, error: Exception) -> str:
    return (
        f"Expected a TrueType or OpenType font. Received: {str(path)!r}, which cannot be used "
        f"({error}). Install the package that it belongs to again."
    )
