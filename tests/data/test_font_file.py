import matplotlib
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTCollection, TTFont

from gb_keras.data.font_file import covered, draw_glyphs

DEJAVU = matplotlib.get_data_path() + "/fonts/ttf/DejaVuSans.ttf"


def make_font(path, boxes, cmap, em=1000):
    """A font whose glyphs are boxes: left, bottom, right, top; `None` is a blank glyph."""
    builder = FontBuilder(em, isTTF=True)
    builder.setupGlyphOrder([".notdef", *boxes])
    builder.setupCharacterMap({ord(character): name for character, name in cmap.items()})
    glyphs = {}
    for name, box in {".notdef": (0, 0, em, em), **boxes}.items():
        pen = TTGlyphPen(None)
        if box is not None:
            left, bottom, right, top = box
            pen.moveTo((left, bottom))
            pen.lineTo((left, top))
            pen.lineTo((right, top))
            pen.lineTo((right, bottom))
            pen.closePath()
        glyphs[name] = pen.glyph()
    builder.setupGlyf(glyphs)
    builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (em, 0)))
    builder.setupHorizontalHeader(ascent=em, descent=0)
    builder.setupNameTable({"familyName": "Boxes", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return path


def ink(image):
    """Top, bottom, left and right of what is not black: first row or column and one past last."""
    rows, columns = np.nonzero(image.any(axis=1))[0], np.nonzero(image.any(axis=0))[0]
    return rows[0], rows[-1] + 1, columns[0], columns[-1] + 1


def test_only_characters_with_a_glyph_of_their_own_are_covered(tmp_path):
    # 'b' is mapped to the box that stands for what is missing, 'c' is not mapped.
    font = make_font(tmp_path / "a.ttf", {"A": (0, 0, 9, 9)}, {"a": "A", "b": ".notdef"})
    assert covered(font, "cba") == "a"


def test_of_a_collection_the_first_face_counts(tmp_path):
    collection = TTCollection()
    for character in "ab":
        path = make_font(tmp_path / character, {"A": (0, 0, 9, 9)}, {character: "A"})
        collection.fonts.append(TTFont(path))
    collection.save(tmp_path / "both.ttc")
    assert covered(tmp_path / "both.ttc", "ab") == "a"
    assert list(draw_glyphs(tmp_path / "both.ttc", "a", 28)) == ["a"]


def test_one_scale_one_base_line_and_centred(tmp_path):
    # The tall box is 1,000 units high and fills the 24 pixels between the margins; the small one,
    # a quarter of it, stands on the same line, wherever its left side is.
    boxes = {"tall": (0, -200, 500, 800), "small": (700, 0, 950, 250)}
    font = make_font(tmp_path / "boxes.ttf", boxes, {"l": "tall", "o": "small"})
    glyphs = draw_glyphs(font, "lo", size=28, margin=2)
    assert ink(glyphs["l"]) == (2, 26, 8, 20)
    # The base line is 200 of 1,000 units above the lower margin: at row 26 - 4.8.
    assert ink(glyphs["o"]) == (15, 22, 11, 17)
    assert glyphs["l"].dtype == np.uint8
    assert glyphs["l"].max() == 255


def test_blank_glyphs_are_left_out(tmp_path):
    font = make_font(tmp_path / "a.ttf", {"A": (0, 0, 9, 9), "B": None}, {"a": "A", "b": "B"})
    assert covered(font, "ab") == "ab"
    assert list(draw_glyphs(font, "ab", 28)) == ["a"]
    assert draw_glyphs(font, "b", 28) == {}


def test_capitals_are_larger_and_descenders_lower():
    glyphs = draw_glyphs(DEJAVU, "cCbp", 28)
    assert ink(glyphs["C"])[0] < ink(glyphs["c"])[0]
    assert ink(glyphs["p"])[1] > ink(glyphs["b"])[1]


@pytest.mark.parametrize("content", [b"", b"no font", b"ttcf", b"\x00\x01\x00\x00"])
def test_damaged_files_are_named(tmp_path, content):
    path = tmp_path / "bad.ttf"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.ttf.*Install the package"):
        covered(path, "a")
    with pytest.raises(ValueError, match=r"bad\.ttf.*Install the package"):
        draw_glyphs(path, "a", 28)
