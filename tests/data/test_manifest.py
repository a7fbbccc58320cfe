import hashlib
import json

import pytest

from gb_keras.data.manifest import checksums, read_manifest
from gb_keras.stages.prepare import prepare


def test_a_folder_without_manifest(tmp_path):
    with pytest.raises(FileNotFoundError, match="which has none"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{not json", "cannot be read"),
        ("[]", "format None"),
        ('{"format": 99}', "format 99"),
        ('{"format": 1}', "no data, options"),
    ],
)
def test_damaged_manifests(tmp_path, text, message):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_manifest(tmp_path)


def test_a_lost_shard_is_named(tmp_path):
    manifest = prepare("digits", tmp_path)
    shard = next(name for name in manifest["checksums"] if "test.tfrecord" in name)
    (tmp_path / shard).unlink()
    with pytest.raises(FileNotFoundError, match=shard):
        read_manifest(tmp_path)


def test_checksums_are_those_of_the_files(tmp_path):
    manifest = prepare("digits", tmp_path)
    assert read_manifest(tmp_path) == manifest
    on_disk = {path.name for path in tmp_path.iterdir()} - {"manifest.json"}
    assert set(manifest["checksums"]) == on_disk
    for name, digest in manifest["checksums"].items():
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest
    (tmp_path / ".hidden").touch()
    del manifest["checksums"]["features.json"]
    assert ".hidden" not in checksums(tmp_path)
    assert json.loads((tmp_path / "manifest.json").read_text())["checksums"]["features.json"]
