import hashlib
from collections import Counter
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from gb_keras.data import fonts_cjk, fonts_latin, glyph_source
from gb_keras.data.catalogue import open_source
from gb_keras.data.font_search import find_fonts, font_directories, install_command
from gb_keras.data.glyph_source import LETTERS_AND_DIGITS, GlyphSource, common_characters
from gb_keras.stages.prepare import prepare

FONTS = Path(matplotlib.get_data_path(), "fonts/ttf")
SPLITS = {
    "train": {
        "fonts-sans": "DejaVuSans.ttf",
        "fonts-bold": "DejaVuSans-*.ttf",
        "fonts-stix": "STIXGeneral*.ttf",
    },
    "test": {"fonts-serif": "DejaVuSerif*.ttf"},
}


@pytest.fixture
def small(monkeypatch):
    """The data sets drawn from the few fonts that come with Matplotlib."""
    monkeypatch.setattr(glyph_source, "font_directories", lambda: [FONTS])
    monkeypatch.setattr(fonts_latin, "SPLITS", SPLITS)
    monkeypatch.setattr(fonts_cjk, "SPLITS", SPLITS)


def source_of(train, test=(), characters="abc", **options):
    fonts = {
        split: {name: FONTS / f"{name}.ttf" for name in names}
        for split, names in {"train": train, "test": test}.items()
    }
    return GlyphSource("some", characters, fonts, size=28, **options)


def test_every_font_draws_every_letter_and_digit(small):
    source = open_source("glyphs")
    assert source.classes == tuple(LETTERS_AND_DIGITS)
    assert len(set(source.classes)) == 62
    assert source.splits == ("train", "test")
    examples = {split: list(source.examples(split)) for split in source.splits}
    assert Counter(e.id.split("/")[0] for e in examples["test"])["DejaVuSerif.ttf"] == 62
    assert {e.label for e in examples["test"]} == set(range(62))
    ids = [e.id for split in examples.values() for e in split]
    assert len(set(ids)) == len(ids)
    image = examples["train"][0].load()
    assert image.shape == (28, 28, 3)
    assert image.dtype == np.uint8
    # White on black, with a margin.
    assert image.max() == 255
    assert image[0].max() == image[:, -1].max() == 0


def test_fonts_without_all_characters_are_left_out_only_where_asked():
    # STIXSizOneSymReg has brackets and no letters.
    options = {"train": ["DejaVuSans", "STIXSizOneSymReg"], "characters": "a("}
    partial = source_of(**options)
    whole = source_of(**options, whole=True)
    names = {"DejaVuSans/a", "DejaVuSans/("}
    assert {e.id for e in whole.examples("train")} == names
    assert {e.id for e in partial.examples("train")} == {*names, "STIXSizOneSymReg/("}


def test_what_another_font_has_drawn_alike_is_left_out_and_the_test_image_stays():
    source = source_of(["DejaVuSans", "DejaVuSerif"], ["DejaVuSans"])
    assert [e.id for e in source.examples("train")] == [f"DejaVuSerif/{c}" for c in "abc"]
    assert [e.id for e in source.examples("test")] == [f"DejaVuSans/{c}" for c in "abc"]


def test_the_manifest_has_the_checksum_of_each_font(small, tmp_path):
    manifest = prepare("glyphs", tmp_path / "out")
    expected = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for pattern in ("DejaVuSans.ttf", "DejaVuSans-*.ttf", "STIXGeneral*.ttf", "DejaVuSerif*")
        for path in FONTS.glob(pattern)
    }
    assert manifest["made_of"] == expected
    assert manifest["image_shape"] == [28, 28, 1]
    assert manifest["classes"] == list(LETTERS_AND_DIGITS)
    assert all(split["num_examples"] >= 62 for split in manifest["splits"].values())
    assert "fonttools" in manifest["versions"]
    assert prepare("glyphs", tmp_path / "again") == manifest


def test_other_data_sets_are_made_of_no_fonts(tmp_path):
    assert "made_of" not in prepare("digits", tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "splits"), [("glyphs", fonts_latin.SPLITS), ("glyphs-cjk", fonts_cjk.SPLITS)]
)
def test_missing_fonts_are_an_error_that_says_what_to_install(monkeypatch, tmp_path, name, splits):
    monkeypatch.setattr(glyph_source, "font_directories", lambda: [tmp_path])
    packages = sorted({*splits["train"], *splits["test"]})
    with pytest.raises(FileNotFoundError) as caught:
        prepare(name, tmp_path / "out")
    assert str(caught.value).endswith("\n" + install_command(packages))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("splits", [fonts_latin.SPLITS, fonts_cjk.SPLITS])
def test_packages_are_in_one_split_and_known_to_the_docs(splits):
    # fonts-aenigma is a collection of unrelated designs: its files are in one split each.
    both = set(splits["train"]) & set(splits["test"])
    assert both <= {"fonts-aenigma"}
    for package in both:
        files = [set(splits[split][package].split()[1:]) for split in ("train", "test")]
        assert not files[0] & files[1]
    docs = Path(__file__).parents[2] / "docs" / "data.md"
    command = install_command(sorted({*splits["train"], *splits["test"]}))
    assert command in " ".join(docs.read_text(encoding="utf-8").replace("\\\n", " ").split())


def test_the_characters_are_those_of_three_standards():
    characters = common_characters()
    assert len(characters) == len(set(characters)) == 2227
    assert characters == "".join(sorted(characters))
    for encoding in ("gb2312", "big5", "euc_jp", "shift_jis"):
        assert len(characters.encode(encoding)) == 2 * 2227
    # Level 1 ends with row 0xD7; the simplified 们 is not in Big5.
    assert all(0xB0 <= c.encode("gb2312")[0] <= 0xD7 for c in characters)
    assert "一" in characters
    assert "们" not in characters


@pytest.mark.parametrize(
    ("name", "splits", "counts"),
    [
        ("glyphs", fonts_latin.SPLITS, {"train": 43_000, "test": 12_000}),
        ("glyphs-cjk", fonts_cjk.SPLITS, {"train": 80_000, "test": 35_000}),
    ],
)
def test_the_full_sets(name, splits, counts):
    try:
        find_fonts(splits, font_directories())
    except FileNotFoundError as error:
        pytest.skip(f"font packages are missing: {str(error).splitlines()[-1]}")
    source = open_source(name)
    for split, count in counts.items():
        labels = Counter(example.label for example in source.examples(split))
        assert sum(labels.values()) >= count
        assert len(labels) == len(source.classes)
        assert min(labels.values()) >= 10
