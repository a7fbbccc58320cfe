import numpy as np
import pytest
import tensorflow_datasets as tfds

from gb_keras.data.catalogue import open_source
from gb_keras.data.label_set import LabelSet
from gb_keras.data.tfds_directory import no_protobuf_warnings
from gb_keras.stages.prepare import prepare
from tests.data.tfds_folder import write_directory


class GbKerasShapes(tfds.core.GeneratorBasedBuilder):
    """A small real TFDS builder: three classes told by brightness, with a test split."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description="Shapes for a test.",
            features=tfds.features.FeaturesDict(
                {
                    "picture": tfds.features.Image(shape=(6, 7, 3)),
                    "kind": tfds.features.ClassLabel(names=["dark", "grey", "light"]),
                    "coarse": tfds.features.ClassLabel(num_classes=2),
                }
            ),
            supervised_keys=("picture", "kind"),
        )

    def _split_generators(self, dl_manager):
        del dl_manager
        return {
            "train": self._generate_examples(0, 60),
            "test": self._generate_examples(60, 75),
            "unlabelled": self._generate_examples(75, 78),
        }

    def _generate_examples(self, start, stop):
        for index in range(start, stop):
            image = np.full((6, 7, 3), index, np.uint8)
            image[..., 0] = 80 * (index % 3)
            yield index, {"picture": image, "kind": index % 3, "coarse": index % 2}


@pytest.fixture
def tfds_home(tmp_path, monkeypatch):
    home = tmp_path / "tfds"
    monkeypatch.setenv("TFDS_DATA_DIR", str(home))
    return home


def test_a_builder_by_name_is_prepared_and_keeps_its_test_split(tfds_home, tmp_path):
    manifest = prepare("tfds:gb_keras_shapes", tmp_path / "out")
    assert (tfds_home / "gb_keras_shapes" / "1.0.0").is_dir()
    assert manifest["classes"] == ["dark", "grey", "light"]
    assert manifest["image_shape"] == [6, 7, 3]
    counts = {name: split["class_counts"] for name, split in manifest["splits"].items()}
    assert counts == {"train": [18] * 3, "validation": [2] * 3, "test": [5] * 3}
    # From the files of the first run, without preparing again.
    again = prepare("tfds:gb_keras_shapes", tmp_path / "again")
    assert again["checksums"] == manifest["checksums"]


def test_round_trip_of_an_own_data_set_with_a_long_tail(tmp_path):
    first = prepare("digits", tmp_path / "first")
    second = prepare(f"tfds-dir:{tmp_path / 'first'}", tmp_path / "second", long_tail_factor=20)
    assert second["splits"]["test"] == first["splits"]["test"]
    assert second["splits"]["validation"] == first["splits"]["validation"]
    assert second["splits"]["train"]["class_counts"][0] == 124
    # 128 / 20 = 6.4
    assert second["splits"]["train"]["class_counts"][9] == 6

    def pixels(folder):
        with no_protobuf_warnings():
            builder = tfds.builder_from_directory(folder)
        examples = builder.as_dataset(split="test").as_numpy_iterator()
        return sorted(example["image"].tobytes() for example in examples)

    assert pixels(tmp_path / "first") == pixels(tmp_path / "second")


def test_an_unknown_name(tfds_home):
    with pytest.raises(ValueError, match=r"that TensorFlow Datasets knows.*'gb_keras_shape'"):
        open_source("tfds:gb_keras_shape")


class GbKerasNoNetwork(GbKerasShapes):
    """A builder whose download fails."""

    def _split_generators(self, dl_manager):
        raise ConnectionError("no route to host")


def test_a_failed_download_says_what_to_do(tfds_home):
    with pytest.raises(RuntimeError, match=r"no route to host.*TFDS_DATA_DIR"):
        open_source("tfds:gb_keras_no_network")


image = tfds.features.Image(shape=(4, 4, 3))
label = tfds.features.ClassLabel(num_classes=2)


@pytest.mark.parametrize(
    ("features", "example", "message"),
    [
        (
            {
                "image": image,
                "colours": tfds.features.Sequence(label),
                "shapes": tfds.features.Sequence(label),
            },
            {"colours": [0, 1], "shapes": [0]},
            "several sequences",
        ),
        (
            {
                "image": image,
                "objects": tfds.features.Sequence(
                    {"bbox": tfds.features.BBoxFeature(), "label": label}
                ),
            },
            {"objects": []},
            "detection",
        ),
        ({"image": image}, {}, "1 images .'image'. and 0 class labels"),
        ({"label": label}, {"label": 0}, "0 images"),
        (
            {"image": image, "one": label, "two": label},
            {"one": 0, "two": 0},
            "2 class labels .'one', 'two'.",
        ),
        (
            {
                "image": tfds.features.Image(
                    shape=(4, 4, 1), dtype=np.uint16, encoding_format="png"
                ),
                "label": label,
            },
            {"image": np.zeros((4, 4, 1), np.uint16), "label": 0},
            "uint16",
        ),
    ],
)
def test_data_sets_of_another_kind_are_refused(tmp_path, features, example, message):
    if "image" in features:
        example = {"image": np.zeros((4, 4, 3), np.uint8)} | example
    write_directory(
        tmp_path, {"train": [("0", example)]}, tfds.features.FeaturesDict(features), "test"
    )
    with pytest.raises(ValueError, match=message):
        open_source(f"tfds-dir:{tmp_path}")


def labelled(tmp_path, splits):
    features = tfds.features.FeaturesDict({"image": image, "label": label})
    examples = {
        split: [
            (str(i), {"image": np.full((4, 4, 3), i, np.uint8), "label": value})
            for i, value in enumerate(labels)
        ]
        for split, labels in splits.items()
    }
    write_directory(tmp_path, examples, features, "test")
    return f"tfds-dir:{tmp_path}"


def test_no_train_split(tmp_path):
    name = labelled(tmp_path, {"everything": [0, 1]})
    with pytest.raises(ValueError, match=r"split named 'train'. Received: .'everything'."):
        open_source(name)


def test_examples_without_a_label_are_problems(tmp_path):
    name = labelled(tmp_path / "in", {"train": [0, 1] * 10 + [-1, -1]})
    with pytest.raises(ValueError, match=r"2 that cannot be used(.|\n)*label -1 is none of the 2"):
        prepare(name, tmp_path / "out")
    manifest = prepare(name, tmp_path / "out", on_error="skip")
    assert manifest["num_skipped"] == 2


def test_a_folder_that_is_no_tfds_directory(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no dataset_info.json"):
        open_source(f"tfds-dir:{tmp_path}")


@pytest.mark.parametrize("key", ["labels", "tags"])
def test_a_sequence_of_labels_is_a_label_set(tmp_path, key):
    features = tfds.features.FeaturesDict({"image": image, key: tfds.features.Sequence(label)})
    pixels = np.zeros((4, 4, 3), np.uint8)
    examples = [("0", {"image": pixels, key: [1, 0, 1]}), ("1", {"image": pixels, key: []})]
    write_directory(tmp_path, {"train": examples}, features, "test")
    source = open_source(f"tfds-dir:{tmp_path}")
    assert source.multi_label
    found = list(source.examples("train"))
    assert {example.label for example in found} == {LabelSet((0, 1)), LabelSet(())}
    assert all((example.load() == pixels).all() for example in found)


def test_what_prepare_writes_of_unknown_labels_is_read_again(tmp_path):
    several = tfds.features.Sequence(label)
    features = {"image": image, "labels": several, "absent_labels": several}
    example = {"image": np.zeros((4, 4, 3), np.uint8), "labels": [1], "absent_labels": [0]}
    write_directory(
        tmp_path, {"train": [("0", example)]}, tfds.features.FeaturesDict(features), "test"
    )
    (found,) = open_source(f"tfds-dir:{tmp_path}").examples("train")
    assert found.label == LabelSet((1,), absent=(0,))
