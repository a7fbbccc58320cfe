"""Data that lies elsewhere: on a server that speaks S3, on one of web pages, in an archive."""

import functools
import http.server
import shutil
import threading

import fsspec
import numpy as np
import pytest
from moto.server import ThreadedMotoServer
from PIL import Image

from gb_keras.data.catalogue import full_name, open_source
from gb_keras.data.images import UnreadableImageError
from gb_keras.data.locations import location
from gb_keras.data.source_version import source_version
from gb_keras.stages.describe import describe
from gb_keras.stages.prepare import prepare
from tests.data.open_images import put_image, put_labels, put_tree

GONE_HERE = "cannot be opened (a broken link, or no regular file)"
pytestmark = pytest.mark.xdist_group("bucket")

ODD = "ü #1%20?.png"


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """Sources on this machine."""
    root = tmp_path_factory.mktemp("here") / "data"
    generator = np.random.default_rng(0)
    rows = ["file_name,label"]
    for split, number in {"train": 12, "test": 3}.items():
        for name in ("a cat", "dog"):
            folder = root / "photos" / split / name
            (folder / "deep").mkdir(parents=True)
            for index in range(number):
                deep = "deep/" if index % 2 else ""
                pixels = generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{deep}{index}.png")
                rows.append(f"../photos/{split}/{name}/{deep}{index}.png,{name}")
    shutil.copy(root / "photos/train/dog/0.png", root / "photos/train/dog" / ODD)
    (root / "photos/train/dog/broken.png").write_bytes(b"no image")
    (root / "photos/train/dog/Thumbs.db").touch()
    (root / "tables").mkdir()
    (root / "tables/birds.csv").write_text("\n".join([*rows, "gone.png,dog"]))
    (root / "hub").mkdir()
    for index in range(12):
        shutil.copy(root / f"photos/train/a cat/{'deep/' if index % 2 else ''}{index}.png", root)
        shutil.move(root / f"{index}.png", root / "hub")
    lines = [f'{{"file_name": "{index}.png", "label": {index % 2}}}' for index in range(12)]
    (root / "hub/metadata.jsonl").write_text("\n".join(lines))
    put_tree(root / "open")
    put_labels(
        root / "open",
        [(f"1{index:015x}", ("Cat", "Dog")[index % 2], 1) for index in range(6)]
        + [("f" * 16, "Dog", 0), ("e" * 16, "Dog", 1)],
    )
    put_image(root / "open", "f" * 16)
    return root


@pytest.fixture(scope="module")
def bucket(here):
    """The same on a server that speaks S3."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{address}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "someone")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        files = fsspec.filesystem("s3")
        files.mkdir("bucket")
        files.put(str(here), "bucket/data", recursive=True)
        # As some programs mark what people take for a folder.
        files.pipe_file("bucket/data/photos/train/dog/", b"")
        yield "s3://bucket/data"
        fsspec.filesystem("s3").clear_instance_cache()
    server.stop()


SOURCES = {
    "folder": "folder:{root}/photos",
    "table": "csv:{root}/tables/birds.csv",
    "huggingface": "huggingface-dir:{root}/hub",
    "boxes": "open-images:boxes:{root}/open?min_size=2",
}


def found(data, output, **options):
    """The manifest but for the name, and checksums of images instead of descriptions."""
    manifest = prepare(data, output, on_error="skip", **options)
    assert manifest.pop("data") == full_name(data)
    sums = manifest.pop("checksums")
    return manifest, {name: each for name, each in sums.items() if "tfrecord" in name}


@pytest.mark.parametrize("kind", SOURCES)
def test_a_bucket_is_as_good_as_a_disk(here, bucket, tmp_path, kind):
    expected = found(SOURCES[kind].format(root=here), tmp_path / "here")
    name = SOURCES[kind].format(root=bucket)
    if kind == "table":
        (gone,) = expected[0]["skipped"]
        assert (gone["file"], gone["reason"]) == ("gone.png", GONE_HERE)
        gone["reason"] = "cannot be opened (not there)"
    assert found(name, tmp_path / "there") == expected
    if kind == "folder":
        skipped = {each["file"]: each["reason"] for each in expected[0]["skipped"]}
        assert skipped == {"train/dog/broken.png": "not an image"}
        # In a process of its own, that finds the server by the environment alone.
        beam = found(name, tmp_path / "beam", beam_options=["direct_num_workers=1"])
        assert beam == expected


def assert_same(name, other_name):
    """Two sources have the same examples; the other one is returned."""
    source, other = open_source(name), open_source(other_name)
    assert (other.splits, other.classes) == (source.splits, source.classes)
    for split in source.splits:
        pairs = zip(source.examples(split), other.examples(split), strict=True)
        for one, same in pairs:
            assert (same.id, same.label) == (one.id, one.label)
            assert np.array_equal(same.load(), one.load())
    return other


def test_describe_and_names_of_files(here, bucket):
    of_bucket, of_disk = (describe(f"folder:{root}/photos") for root in (bucket, here))
    assert of_bucket.pop("data") == f"folder:{bucket}/photos"
    assert of_disk.pop("data")
    assert of_bucket == of_disk
    assert of_disk["broken"][0]["file"] == "train/dog/broken.png"
    source = open_source(f"folder:{bucket}/photos/")
    assert f"train/dog/{ODD}" in {example.id for example in source.examples("train")}
    assert source.classes == ("a cat", "dog")


def test_a_bucket_is_asked_again_each_time(bucket):
    files = fsspec.filesystem("s3")
    files.copy("bucket/data/photos/test/dog/0.png", "bucket/changing/a/0.png")
    files.copy("bucket/data/photos/test/dog/0.png", "bucket/changing/b/0.png")
    source = open_source("folder:s3://bucket/changing")
    assert len(list(source.examples("train"))) == 2
    files.copy("bucket/data/photos/test/dog/0.png", "bucket/changing/b/1.png")
    assert len(list(source.examples("train"))) == 3


def test_labels_of_open_images_in_a_bucket(here, bucket):
    there = assert_same(f"open-images:labels:{here}/open", f"open-images:labels:{bucket}/open")
    assert there.left_out["train"]["image not there"] == 1


def test_a_changed_image_in_a_bucket_is_another_version(here, bucket):
    files = fsspec.filesystem("s3")
    files.copy("bucket/data/photos", "bucket/state/photos", recursive=True)
    files.copy("bucket/data/tables", "bucket/state/tables", recursive=True)
    names = ("folder:s3://bucket/state/photos", "csv:s3://bucket/state/tables/birds.csv")
    before = [source_version(name) for name in names]
    # What no row names matters to the folder alone.
    files.pipe_file("bucket/state/photos/train/dog/notes.txt", b"notes")
    others = [source_version(name) for name in names]
    assert others[0] != before[0]
    assert others[1] == before[1]
    files.copy("bucket/data/photos/train/dog/2.png", "bucket/state/photos/train/dog/4.png")
    after = [source_version(name) for name in names]
    assert not set(after) & {*before, *others}
    assert after == [source_version(name) for name in names]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_tables_and_folders_of_a_web_server(here, tmp_path):
    for name in ("photos", "hub"):
        shutil.copytree(here / name, tmp_path / name)
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        table = tmp_path / "t.csv"
        table.write_text(
            f"path,label\nphotos/test/dog/0.png,x\n{url}/photos/train/dog/2.png?a=b,y\n"
        )
        # The table here and one of its images there, or both there.
        for name in (f"csv:{table}", f"csv:{url}/t.csv"):
            images = [example.load() for example in open_source(name).examples("train")]
            assert np.array_equal(
                images[1], np.asarray(Image.open(here / "photos/train/dog/2.png"))
            )
        assert open_source(f"folder:{url}").name == full_name(f"folder:{url}/")
        source = open_source(f"folder:{url}/photos")
        ids = {example.id for example in source.examples("test")}
        assert ids == {
            example.id for example in open_source(f"folder:{here}/photos").examples("test")
        }
        named = [f"csv:{url}/t.csv", f"folder:{url}/photos"]
        before = [source_version(name) for name in named]
        assert before == [source_version(name) for name in named]
        shutil.copy(tmp_path / "photos/train/dog/4.png", tmp_path / "photos/train/dog/2.png")
        after = [source_version(name) for name in named]
        assert all(one != other for one, other in zip(before, after, strict=True))
        first = next(iter(source.examples("test")))
        first.load()
        shutil.rmtree(tmp_path / "photos")
        with pytest.raises(UnreadableImageError, match="cannot be opened"):
            first.load()
        server.shutdown()
    # That says nothing of the image, so `prepare` must not skip it.
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1.* Look at the address, the network"):
        first.load()


def test_what_is_in_an_archive(here, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "photos"), "zip", here)
    in_archive = open_source(f"csv:zip://tables/birds.csv::{archive}")
    on_disk = open_source(f"csv:{here}/tables/birds.csv")
    pairs = zip(on_disk.examples("train"), in_archive.examples("train"), strict=True)
    for one, other in list(pairs)[:-1]:
        assert one.id == other.id
        assert np.array_equal(one.load(), other.load())
    assert open_source(f"folder:zip://photos::{archive}").classes == ("a cat", "dog")


@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        ("s3://bucket/none", FileNotFoundError, "s3://bucket/none.*not there"),
        ("s3://no-bucket/none", FileNotFoundError, "s3://no-bucket/none.*not there"),
        ("dropbox://photos", ValueError, r"pip install 'fsspec\[dropbox\]'"),
        ("filing://cabinet", ValueError, "Expected a URL that fsspec reads.*filing"),
    ],
)
def test_what_cannot_be_read_is_said(bucket, url, error, message):
    with pytest.raises(error, match=message):
        open_source(f"folder:{url}")


def test_missing_credentials_are_said(bucket, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    type(location(bucket).fs).clear_instance_cache()
    try:
        with pytest.raises(ConnectionError, match=r"s3://bucket/data.*credentials"):
            open_source(f"folder:{bucket}/photos")
    finally:
        type(location(bucket).fs).clear_instance_cache()


@pytest.mark.parametrize("several", [False, True])
def test_a_prepared_data_set_in_a_bucket(here, bucket, tmp_path, several):
    rows = [f"{index}.png,{index % 2},{1 - index % 2},{index % 3}" for index in range(12)]
    rows = [row.removesuffix("2") for row in rows]
    table = here / "hub" / "several.csv"
    table.write_text("\n".join(["path,a,b,c", *rows]))
    name = f"csv:{table}?labels=a,b,c" if several else f"folder:{here}/photos"
    prepare(name, tmp_path / "prepared", on_error="skip")
    files = fsspec.filesystem("s3")
    there = f"bucket/prepared/{several}"
    files.put(str(tmp_path / "prepared"), there, recursive=True)
    assert_same(f"tfds-dir:{tmp_path / 'prepared'}", f"tfds-dir:s3://{there}")
    version = source_version(f"tfds-dir:s3://{there}")
    shard = next(each for each in files.ls(there) if "test.tfrecord" in each)
    files.pipe_file(shard, files.cat_file(shard)[:-5])
    assert source_version(f"tfds-dir:s3://{there}") != version
    with pytest.raises(ValueError, match=r"test\.tfrecord.*ends within one"):
        list(open_source(f"tfds-dir:s3://{there}").examples("test"))


def test_what_is_no_prepared_data_set(bucket):
    with pytest.raises(FileNotFoundError, match=r"'s3://bucket/data/photos', which has no"):
        open_source(f"tfds-dir:{bucket}/photos")
    with pytest.raises(FileNotFoundError, match=r"'s3://bucket/nowhere', which has no"):
        open_source("tfds-dir:s3://bucket/nowhere")
    fsspec.filesystem("s3").pipe_file("bucket/open/features.json", b"")
    with pytest.raises(ValueError, match=r"in a file system that TensorFlow reads.*Copy it"):
        open_source("open-images:boxes:s3://bucket/open")


def test_results_are_written_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"Expected a folder of this machine.*s3:"):
        prepare("digits", "s3://bucket/out")
    assert not list(tmp_path.iterdir())
