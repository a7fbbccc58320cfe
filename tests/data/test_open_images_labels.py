import json

import numpy as np
import pytest
import tensorflow_datasets as tfds

from gb_keras.data.catalogue import folder_of, full_name, open_source
from gb_keras.data.images import UnreadableImageError
from gb_keras.data.open_images.hierarchy import Hierarchy
from gb_keras.data.open_images.labels import OpenImagesLabels
from gb_keras.data.tfds_directory import no_protobuf_warnings
from gb_keras.stages.prepare import prepare
from tests.data.open_images import (
    HEIGHT,
    MIDS,
    WIDTH,
    pixels,
    put_classes,
    put_csv,
    put_image,
    put_labels,
    put_rotations,
)
from tests.data.test_open_images_tfds import jpeg
from tests.data.tfds_folder import write_directory

ROWS = [
    ("a", "Cat", 1),
    ("a", "Dog", 0),
    ("b", "Dog", 1),
    ("c", "Cat", 1),
    ("c", "Dog", "1.0", "crowdsource-verification"),
]


def tree(root, rows=ROWS, images="abc", **options):
    for image in images:
        put_image(root, image)
    put_classes(root, "class-descriptions.csv")
    put_labels(root, rows, **options)
    return root


def known(source, split="train"):
    """What an image shows and does not show, by the file's name."""
    return {
        example.id.split("/")[1].removesuffix(".jpg"): tuple(
            [source.classes[index] for index in indices]
            for indices in (example.label.present, example.label.absent)
        )
        for example in source.examples(split)
    }


def test_what_people_have_said(tmp_path):
    source = OpenImagesLabels(str(tree(tmp_path)))
    assert source.classes == ("Cat", "Dog")
    assert source.multi_label
    assert source.splits == ("train",)
    assert known(source) == {
        "a": (["Cat"], ["Dog"]),
        "b": (["Dog"], []),
        "c": (["Cat", "Dog"], []),
    }
    assert source.left_out == {"train": {}}
    (first, *_) = source.examples("train")
    assert first.load().shape == (HEIGHT, WIDTH, 3)
    assert np.abs(first.load().astype(int) - pixels("a")).max() <= 3


@pytest.mark.parametrize("version", ["", "oidv6-", "oidv7-"])
@pytest.mark.parametrize("boxable", ["", "-boxable"])
def test_names_of_every_version(tmp_path, version, boxable):
    for split, image in (("train", "a"), ("train", "b"), ("validation", "c"), ("test", "d")):
        put_image(tmp_path, image, split)
    put_classes(tmp_path, f"{version}class-descriptions.csv")
    called = {"validation": "val"} if version == "oidv7-" else {}
    for split, rows in (
        ("train", [("a", "Cat", 1), ("b", "Dog", 1)]),
        ("validation", [("c", "Cat", 0)]),
        ("test", [("d", "Dog", 0)]),
    ):
        name = f"{version}{called.get(split, split)}-annotations-human-imagelabels{boxable}.csv"
        put_labels(tmp_path / "annotations", rows, name=name)
    source = OpenImagesLabels(str(tmp_path))
    assert source.splits == ("train", "validation", "test")
    assert known(source, "validation") == {"c": ([], ["Cat"])}
    assert known(source, "test") == {"d": ([], ["Dog"])}


def test_every_answer_that_does_not_count_is_counted(tmp_path):
    rows = [
        *ROWS,
        ("a", "Cat", 1),  # Said already.
        ("b", "Cat", 1),
        ("b", "Cat", 0),  # Both cannot be.
        ("a", "/m/0nowhere", 1),
        ("a", "Football", 0.7, "machine"),
        ("d", "Cat", 1),  # Not downloaded.
        ("d", "Dog", 1),
        ("e", "Magpie", 0),  # No training image shows one, so nothing is known of e.
    ]
    source = OpenImagesLabels(str(tree(tmp_path, rows, images="abce")))
    assert source.classes == ("Cat", "Dog")
    assert known(source) == {
        "a": (["Cat"], ["Dog"]),
        "b": (["Dog"], []),
        "c": (["Cat", "Dog"], []),
    }
    assert source.left_out["train"] == {
        "class not taken": 1,
        "contradicted": 2,
        "image not there": 1,
        "image without a known label": 1,
        "repeated row": 1,
        "said by a machine": 1,
        "unknown class /m/0nowhere": 1,
    }


def test_rows_of_an_image_need_not_stand_together(tmp_path):
    together = OpenImagesLabels(str(tree(tmp_path / "1")))
    apart = OpenImagesLabels(str(tree(tmp_path / "2", [ROWS[i] for i in (0, 2, 3, 1, 4)])))
    assert known(together) == known(apart)
    assert [e.id for e in together.examples("train")] == [e.id for e in apart.examples("train")]


def test_classes_and_their_order(tmp_path):
    root = tree(tmp_path, [*ROWS, ("a", "Magpie", 1)])
    assert OpenImagesLabels(str(root)).classes == ("Magpie", "Cat", "Dog")
    source = OpenImagesLabels(f"{root}?classes=Dog,{MIDS['Cat']}")
    assert source.classes == ("Dog", "Cat")
    assert known(source)["a"] == (["Cat"], ["Dog"])
    assert source.left_out["train"] == {"class not chosen": 1}


def test_trainable_classes(tmp_path):
    root = tree(tmp_path, [*ROWS, ("a", "Magpie", 1)])
    with pytest.raises(FileNotFoundError, match=r"classes-trainable\.txt"):
        OpenImagesLabels(f"{root}?classes=trainable")
    # One of them is in no other file, as of another version.
    lines = [[MIDS["Dog"]], ["/m/0nowhere"], [MIDS["Cat"]]]
    put_csv(root / "oidv7-classes-trainable.txt", lines)
    source = OpenImagesLabels(f"{root}?classes=trainable")
    assert source.classes == ("Dog", "Cat")
    assert full_name(f"open-images:labels:{root}?classes=trainable").endswith("?classes=trainable")


def test_least_number_of_images_that_show_a_class(tmp_path):
    rows = [*ROWS, ("a", "Magpie", 1), ("b", "Magpie", 0), ("c", "Magpie", 0)]
    source = OpenImagesLabels(f"{tree(tmp_path, rows)}?min_images=2")
    assert source.classes == ("Cat", "Dog")
    with pytest.raises(ValueError, match="at least 2 classes that 3 or more training images show"):
        OpenImagesLabels(f"{tmp_path}?min_images=3")


def put_hierarchy(root, node, name="hierarchy.json"):
    path = root / name
    root.mkdir(exist_ok=True, parents=True)
    path.write_text(json.dumps(node), encoding="utf-8")
    return path


def kinds(name, *below, parts=()):
    return {
        "LabelName": MIDS.get(name, name),
        "Subcategory": list(below),
        "Part": [{"LabelName": each} for each in parts],
    }


def test_what_follows_from_the_hierarchy(tmp_path):
    pets = kinds("pet", kinds("Cat"), kinds("Dog", kinds("puppy")), parts=["tail"])
    path = put_hierarchy(tmp_path, kinds("all", kinds("animal", pets), kinds("wild", kinds("Cat"))))
    completed = Hierarchy(path).completed
    cat, dog = MIDS["Cat"], MIDS["Dog"]
    # Present: all above, over both ways. Parts are no kinds.
    up = dict.fromkeys(["pet", "animal", "all", "wild"], True)
    assert completed({cat: True}) == {cat: True, **up}
    # Absent: all below.
    assert completed({"pet": False}) == {"pet": False, cat: False, dog: False, "puppy": False}
    # What someone has said stays.
    assert completed({cat: True, "pet": False}) == {
        **{cat: True, "pet": False, "animal": True, "all": True, "wild": True},
        **{dog: False, "puppy": False},
    }
    # From the puppy follows a dog, from the pet that there is none: nothing follows.
    assert dog not in completed({"puppy": True, "pet": False})
    assert completed({"unheard of": True}) == {"unheard of": True}


def test_the_hierarchy_fills_in_labels(tmp_path):
    root = tree(tmp_path, [*ROWS, ("b", "Tortoise", 1), ("a", "Container", 0)])
    put_hierarchy(root, kinds("/m/0bl9f", kinds("Container", kinds("Tortoise"))))
    plain = OpenImagesLabels(str(root))
    assert plain.classes == ("Tortoise", "Cat", "Dog")
    source = OpenImagesLabels(f"{root}?hierarchy=hierarchy.json")
    # A tortoise is a container here, so a training image shows one.
    assert source.classes == ("Tortoise", "Container", "Cat", "Dog")
    assert known(source)["b"] == (["Tortoise", "Container", "Dog"], [])
    assert known(source)["a"] == (["Cat"], ["Tortoise", "Container", "Dog"])


@pytest.mark.parametrize("text", ["", "[]", "3", '{"Subcategory": [{}]}', '{"Subcategory": 1}'])
def test_a_hierarchy_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "h.json").write_text(text)
    with pytest.raises(ValueError, match=r"'Subcategory'.*h\.json"):
        Hierarchy(tmp_path / "h.json")


def test_a_hierarchy_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"hierarchy=FILE"):
        OpenImagesLabels(f"{tree(tmp_path)}?hierarchy=h.json")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", "Cat", 0.5)], r"Expected 1 or 0 as Confidence of what 'verification'.*line 2"),
        ([("a", "Cat", "x")], r"Expected a number as Confidence in line 2"),
        ([], "at least 2 classes"),
    ],
)
def test_rows_that_cannot_be_read_are_named(tmp_path, rows, message):
    with pytest.raises(ValueError, match=message):
        OpenImagesLabels(str(tree(tmp_path, rows)))


@pytest.mark.parametrize("options", [{"newline": "\r\n"}, {"encoding": "utf-8-sig"}])
def test_line_ends_and_byte_order_marks_make_no_difference(tmp_path, options):
    assert known(OpenImagesLabels(str(tree(tmp_path, **options)))) == known(
        OpenImagesLabels(str(tree(tmp_path / "plain")))
    )


def test_what_is_missing_is_named(tmp_path):
    put_classes(tmp_path, "class-descriptions.csv")
    with pytest.raises(FileNotFoundError, match=r"'train-annotations-human-imagelabels\.csv'"):
        OpenImagesLabels(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="Expected the folder"):
        OpenImagesLabels(str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="open-images:boxes:PATH or open-images:labels:PATH"):
        open_source("open-images:masks:/data")
    with pytest.raises(ValueError, match="min_size"):
        open_source(f"open-images:labels:{tmp_path}?min_size=3")


def test_turned_photographs_and_broken_ones(tmp_path):
    root = tree(tmp_path)
    put_rotations(root, {"a": 90})
    (root / "train" / "b.jpg").write_bytes(b"\xff\xd8\xff broken")
    turned, broken, plain = OpenImagesLabels(str(root)).examples("train")
    assert turned.load().shape == (WIDTH, HEIGHT, 3)
    assert plain.load().shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(UnreadableImageError):
        broken.load()


def test_the_name_opens_it_again(tmp_path):
    root = tree(tmp_path / "open images")
    name = f"open-images:labels:{root}?min_images=1&classes=Dog,Cat"
    source = open_source(name)
    assert source.name == full_name(name) == f"open-images:labels:{root}?classes=Dog,Cat"
    assert open_source(source.name).classes == ("Dog", "Cat")
    assert folder_of(source.name) == str(root)


def test_the_same_from_what_tfds_prepared(tmp_path):
    with no_protobuf_warnings():
        features = tfds.builder("open_images_v4/300k").info.features
    folder = tmp_path / "tfds"
    folder.mkdir()

    def answer(name, confidence, source="verification"):
        return {"label": MIDS[name], "confidence": round(10 * confidence), "source": source}

    answers = {
        "a": [answer("Cat", 1), answer("Dog", 0), answer("Football", 0.7, "machine")],
        "b": [answer("Dog", 1)],
        "c": [answer("Cat", 1), answer("Dog", 1, "crowdsource-verification")],
        "d": [],
    }
    examples = [
        (
            image,
            {
                "image": jpeg(image),
                "image/filename": f"{image}.jpg",
                "objects": objects,
                "objects_trainable": [],
                "bobjects": [],
            },
        )
        for image, objects in answers.items()
    ]
    write_directory(folder, {"train": examples}, features, "A few photographs.")
    put_classes(folder, "class-descriptions.csv")
    source = OpenImagesLabels(str(folder))
    official = OpenImagesLabels(str(tree(tmp_path / "official")))
    assert set(source.classes) == set(official.classes)
    assert {image: tuple(map(sorted, sets)) for image, sets in known(source).items()} == known(
        official
    )
    assert source.left_out["train"] == {
        "image without a known label": 1,
        "said by a machine": 1,
    }
    images = {example.id: example.load() for example in source.examples("train")}
    for example in official.examples("train"):
        assert (images[example.id] == example.load()).all()
    trainable = OpenImagesLabels(f"{folder}?classes=trainable")
    assert set(trainable.classes) == {"Cat", "Dog"}


def test_prepared_with_what_is_known(tmp_path):
    rows = [
        row
        for index in range(30)
        for row in ((f"{index}", "Cat", int(index % 2)), (f"{index}", "Dog", int(index % 3 == 0)))
        if index % 5 or row[1] == "Cat"
    ]
    root = tree(tmp_path / "open", rows, images=map(str, range(30)))
    manifest = prepare(f"open-images:labels:{root}", tmp_path / "data", image_size=16)
    assert manifest["multi_label"]
    assert manifest["classes"] == ["Cat", "Dog"]
    splits = manifest["splits"].values()
    assert np.sum([split["class_counts"] for split in splits], axis=0).tolist() == [15, 8]
    # Of dogs a fifth was never asked: 24 answers, 8 of them yes.
    assert np.sum([split["absent_counts"] for split in splits], axis=0).tolist() == [15, 16]
    again = open_source(f"tfds-dir:{tmp_path / 'data'}")
    for split in ("train", "validation", "test"):
        labels = [example.label for example in again.examples(split)]
        assert len(labels) == manifest["splits"][split]["num_examples"]
        assert (
            sum(0 in label.absent for label in labels)
            == (manifest["splits"][split]["absent_counts"][0])
        )
