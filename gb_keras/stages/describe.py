"""Describe a data set before anything is made of it: its classes, and what is wrong with it."""

import base64
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gb_keras.data.catalogue import full_name, open_source
from gb_keras.data.duplicates import Looks, groups_alike, looks
from gb_keras.data.images import encode_png, is_grey, resize_image
from gb_keras.data.label_set import LabelSet, shown, split_counts
from gb_keras.data.scan import images
from gb_keras.data.source import Source, is_multi_label
from gb_keras.stages import report_description
from gb_keras.stages.files import new_directory, require_empty, write_json, write_text

# Groups of images that are written down, and those of them with pictures.
_MAX_GROUPS = 1000
_MAX_PICTURED = 24
_PICTURES_OF_GROUP = 4
_PICTURE_SIZE = 96


def describe(data: str, output_dir: str | os.PathLike | None = None) -> dict[str, Any]:
    """Look at every image of a data set: how many of which class, which are broken or doubled.

    Args:
        data: As `prepare` takes it, or a folder that `prepare` wrote.
        output_dir: New or empty folder for `description.json` and `description.html`, a page that
            needs nothing but itself; None writes nothing.

    Returns:
        The description, ready for JSON:

        - `data`, `classes`, `multi_label`, and `splits`: of each `num_examples` and `class_counts`
          (of multi-label data also `absent_counts`).
        - `imbalance_factor`: largest over smallest class of the training split, of those that have
          an image.
        - `heights` and `widths`: least, median and largest, in pixels; `grey`: share of grey
          images.
        - `broken`: `{"file", "reason"}` of each image that cannot be used; `left_out`: by split,
          what the source itself leaves out, by the reason.
        - `duplicates`: groups of images that look alike (see `groups_alike`), each a list of
          `{"file", "split", "labels"}`, those first that are wrong in some way; with
          `num_duplicate_groups`, `num_duplicates` (images that could go), `num_conflicts` (groups
          whose labels disagree) and `num_leaks` (groups in several splits).

    Raises:
        ValueError: The name is unknown, or what it names is no image data set.
        FileNotFoundError: The source does not exist.
        FileExistsError: `output_dir` already holds something.

    Example:
        >>> found = describe("digits")
        >>> found["splits"]["train"]["num_examples"], found["broken"], found["num_conflicts"]
        (1797, [], 0)
        >>> round(found["imbalance_factor"], 2)
        1.05
    """
    if output_dir is not None:
        require_empty(output_dir)
    source = open_source(_name(data))
    examples, seen, sizes, broken = [], [], [], []
    num_grey = 0
    for split, example, image in images(source):
        if isinstance(image, str):
            broken.append({"file": example.id, "split": split, "reason": image})
            continue
        examples.append((split, example.id, example.label))
        seen.append(looks(image))
        sizes.append(image.shape[:2])
        num_grey += is_grey(image)
    duplicates = _duplicates(source, examples, seen)
    splits = {
        split: split_counts(
            [label for of, _, label in examples if of == split],
            len(source.classes),
            is_multi_label(source),
        )
        for split in source.splits
    }
    result = {
        "format": 1,
        "data": source.name,
        "classes": list(source.classes),
        "multi_label": is_multi_label(source),
        "splits": splits,
        "imbalance_factor": _imbalance_factor(splits["train"]["class_counts"]),
        "heights": _spread([height for height, _ in sizes]),
        "widths": _spread([width for _, width in sizes]),
        "grey": num_grey / len(examples) if examples else None,
        "broken": broken,
        "left_out": getattr(source, "left_out", {}),
        **duplicates,
    }
    if output_dir is not None:
        with new_directory(output_dir) as folder:
            write_json(folder / "description.json", result)
            pictures = _pictures(source, result["duplicates"][:_MAX_PICTURED])
            write_text(folder / "description.html", report_description.page(result, pictures))
    return result


def _name(data: str) -> str:
    """The name of a data set; a prepared one may go by its folder alone."""
    if (Path(data) / "dataset_info.json").is_file():
        data = f"tfds-dir:{data}"
    return full_name(data)


def _imbalance_factor(counts: Sequence[int]) -> float | None:
    present = [count for count in counts if count]
    return max(present) / min(present) if present else None


def _spread(values: Sequence[int]) -> list[int] | None:
    """Least, median and largest."""
    return [min(values), int(np.median(values)), max(values)] if values else None


def _duplicates(
    source: Source, examples: Sequence[tuple[str, str, int | LabelSet]], seen: Sequence[Looks]
) -> dict[str, Any]:
    described: list[dict[str, Any]] = []
    num_duplicates = num_conflicts = num_leaks = 0
    for group in groups_alike(seen):
        members = [examples[position] for position in group]
        conflict = any(_disagree(*pair) for pair in itertools.combinations(_labels(members), 2))
        leak = len({split for split, _, _ in members}) > 1
        num_duplicates += len(group) - 1
        num_conflicts += conflict
        num_leaks += leak
        described.append(
            {
                "conflict": conflict,
                "leak": leak,
                "images": [
                    {
                        "file": name,
                        "split": split,
                        "labels": [source.classes[index] for index in shown(label)],
                    }
                    for split, name, label in members
                ],
            }
        )
    described.sort(key=lambda each: -2 * each["conflict"] - each["leak"])
    return {
        "num_duplicate_groups": len(described),
        "num_duplicates": num_duplicates,
        "num_conflicts": num_conflicts,
        "num_leaks": num_leaks,
        "duplicates": described[:_MAX_GROUPS],
    }


def _labels(members: Sequence[tuple[str, str, int | LabelSet]]) -> list[int | LabelSet]:
    """The different labels of a group; equal ones do not disagree."""
    return list(dict.fromkeys(label for _, _, label in members))


def _disagree(one: int | LabelSet, other: int | LabelSet) -> bool:
    """Whether both cannot be: another class, or one present in the one and absent in the other."""
    if not isinstance(one, LabelSet) or not isinstance(other, LabelSet):
        return one != other

    def denies(label: LabelSet, index: int) -> bool:
        return index not in label.present if label.absent is None else index in label.absent

    return any(denies(other, index) for index in one.present) or any(
        denies(one, index) for index in other.present
    )


def _pictures(source: Source, groups: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Small pictures of the first images of groups, as base64 PNG by file."""
    wanted = {
        (image["split"], image["file"])
        for group in groups
        for image in group["images"][:_PICTURES_OF_GROUP]
    }
    found = {}
    for split in sorted({split for split, _ in wanted}):
        for example in source.examples(split):
            if (split, example.id) in wanted:
                png = encode_png(resize_image(example.load(), _PICTURE_SIZE))
                found[example.id] = base64.b64encode(png).decode()
    return found
