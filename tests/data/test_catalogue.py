import numpy as np
import pytest

from gb_keras.data.catalogue import full_name, open_source


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digit", "Did you mean 'digits'"),
        ("mnist", "Did you mean 'mnist5k'"),
        ("folders:/x", "Did you mean 'folder:PATH'"),
        ("folder:", "Did you mean 'folder:PATH'"),
        ("xyz", "digits, mnist5k, glyphs, glyphs-cjk, tfds:NAME"),
        ("", "Received: ''"),
    ],
)
def test_unknown_names_list_the_known_and_suggest_the_nearest(name, message):
    with pytest.raises(ValueError, match=message.replace("[", r"\[")):
        open_source(name)


def test_paths_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert full_name("folder:pictures") == f"folder:{tmp_path}/pictures"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert full_name("tfds-dir:~/prepared") == f"tfds-dir:{tmp_path}/home/prepared"
    assert full_name("tfds:mnist/x:1.0.0") == "tfds:mnist/x:1.0.0"


def test_digits():
    examples = list(open_source("digits").examples("train"))
    assert len(examples) == 1797
    assert len({example.id for example in examples}) == 1797
    images = np.array([example.load() for example in examples])
    assert images.shape == (1797, 8, 8, 3)
    # Level 16 of 16 is white; the 17 levels stay apart.
    assert images.max() == 255
    assert len(np.unique(images)) == 17


def test_mnist5k():
    source = open_source("mnist5k")
    examples = list(source.examples("train"))
    assert np.bincount([example.label for example in examples]).tolist() == [500] * 10
    assert source.classes == tuple("0123456789")
    image = examples[0].load()
    assert image.shape == (28, 28, 3)
    assert image.max() > 250
