from pathlib import Path

import pytest

from gb_keras.data.font_search import find_fonts, font_directories


@pytest.fixture
def directories(tmp_path):
    for name in (
        "system/lato/Lato-Bold.ttf",
        "system/lato/Lato-Thin.ttf",
        "system/lato/README",
        "system/pair/one.ttf",
        "system/pair/two.ttf",
        "user/lato/Lato-Other.ttf",
        "user/go/Go.ttf",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return [tmp_path / "system", tmp_path / "user", tmp_path / "absent"]


def find(words, directories):
    return list(find_fonts({"train": {"package": words}}, directories)["train"])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("lato/*.ttf", ["lato/Lato-Bold.ttf", "lato/Lato-Thin.ttf"]),
        ("lato/*.ttf !*Thin*", ["lato/Lato-Bold.ttf"]),
        ("pair/ two.ttf one.ttf", ["pair/one.ttf", "pair/two.ttf"]),
        ("pair/ two.ttf lato/ *Bold*", ["lato/Lato-Bold.ttf", "pair/two.ttf"]),
        ("go/Go.ttf", ["go/Go.ttf"]),  # not in the first directory
    ],
)
def test_patterns(directories, words, expected):
    assert find(words, directories) == expected


def test_files_are_found_where_they_lie(directories):
    found = find_fonts({"train": {"p": "go/*.ttf"}, "test": {"q": "pair/one.ttf"}}, directories)
    assert found == {
        "train": {"go/Go.ttf": directories[1] / "go/Go.ttf"},
        "test": {"pair/one.ttf": directories[0] / "pair/one.ttf"},
    }


def test_one_missing_file_makes_a_package_missing_and_all_missing_are_named(directories):
    splits = {
        "train": {"fonts-pair": "pair/ one.ttf three.ttf", "fonts-go": "go/*.ttf"},
        "test": {"fonts-none": "none/*.ttf", "fonts-pair": "pair/ one.ttf"},
    }
    with pytest.raises(FileNotFoundError) as caught:
        find_fonts(splits, directories)
    message = str(caught.value)
    assert "the fonts of 3 Debian packages" in message
    assert "those of 2." in message
    last_line = "apt-get install --no-install-recommends fonts-none fonts-pair"
    assert message.splitlines()[-1] == last_line
    assert str(directories[0]) in message


def test_the_user_may_keep_fonts_at_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert Path("/usr/share/fonts") in font_directories()
    assert tmp_path / ".local/share/fonts" in font_directories()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert tmp_path / "data/fonts" in font_directories()
