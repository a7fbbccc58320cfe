"""Prepare a data set: named source in, standard TFDS directory with a manifest out."""

import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gb_keras.data import manifest as manifests
from gb_keras.data.catalogue import folder_of, full_name, open_source
from gb_keras.data.label_set import split_counts
from gb_keras.data.leftovers import marked_as_ours
from gb_keras.data.plan import Plan, plan_splits
from gb_keras.data.reading import read_source
from gb_keras.data.scan import Scan
from gb_keras.data.source import Source, is_multi_label
from gb_keras.data.tfds_directory import check_class_names
from gb_keras.data.views import long_tail_counts
from gb_keras.data.workers import BeamWorkers, in_this_process
from gb_keras.data.write import write_splits
from gb_keras.stages.files import local_path, new_directory, require_empty, write_json

logger = logging.getLogger(__name__)


def prepare(
    data: str,
    output_dir: str | os.PathLike,
    *,
    long_tail_factor: float = 1.0,
    label_noise: float = 0.0,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.2,
    image_size: int | None = None,
    seed: int = 0,
    on_error: str = "raise",
    data_version: str = "",
    min_images: int | None = None,
    beam_options: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Make a data set ready for training: split, and where asked for long-tailed and noisy.

    The result is a TFDS directory that `tfds.builder_from_directory` opens (features `image`,
    `label`, `id`; splits `train`, `validation`, `test`) with a `manifest.json`. It appears whole
    or not at all. The same arguments give the same files. A run that was killed is gone on from by
    the next one to the same folder: what it has read of a source that is named by a path, and has
    not changed since, is not read again.

    - Splits of the source are kept; a missing one is drawn from its `train` split, stratified by
      class. No image is in two splits: identical images are kept together, and where the source
      has one in two of its splits, the copy in `train` is left out and listed as skipped.
    - Images become lossless PNG: one channel if every image of the source is grey, else RGB.
    - The long tail and the label noise touch the training split alone. Class 0 stays the
      largest, the last class (in the order of `classes`) becomes the smallest.
    - A multi-label source (`csv:PATH?labels=...`, `open-images:labels:PATH`) has the feature
      `labels` instead of `label`, and where not all are known `absent_labels`.

    Args:
        data: `digits`, `mnist5k`, `glyphs`, `glyphs-cjk`, `tfds:NAME[/CONFIG]`, `folder:PATH`,
            `csv:PATH`, `parquet:PATH`, `huggingface-dir:PATH`, `tfds-dir:PATH`,
            `open-images:boxes:PATH` or `open-images:labels:PATH`.
        output_dir: A new or empty folder. If it already holds a data set made with the very
            same arguments, nothing is done (and the source is not read again).
        long_tail_factor: Largest over smallest class of the training split, at least 1.
        label_noise: Share of training labels changed to another class, in [0, 1).
        validation_fraction: Share of the source's `train` split for validation, in (0, 1).
        test_fraction: Share of the source's `train` split for testing, in (0, 1).
        image_size: Side in pixels; the shorter side is scaled to it and the centre cut out.
            `None` keeps each image's size.
        seed: Seed of all draws, at least 0.
        on_error: What to do about images that cannot be used: `"raise"` an error that names
            them all, or `"skip"` them and list them in the manifest.
        data_version: Any text, kept in the manifest. What is prepared once is taken again where
            nothing has changed; so give another one when what `data` names has other content.
        min_images: Leave out classes with fewer different images to train with, at least 1;
            `None` leaves out none, and it is an error if one has too few for the splits. What
            must not be in two splits counts as one image.
        beam_options: Options of Apache Beam as `NAME=VALUE`, see
            `gb_keras.data.workers.BeamWorkers`; with any, images are read and written by Beam's
            workers, with none by this process. The result is the same.

    Returns:
        The manifest (see `gb_keras.data.manifest.read_manifest`). Its `class_counts` count the
        labels as stored, so those of `train` are counted after label noise. Of multi-label data
        it has `multi_label`, and its splits `absent_counts`: of how many images it is known that
        they do not show a class.

    Raises:
        ValueError: An argument is out of range, images cannot be used (`on_error="raise"`), or a
            class has too few images.
        FileNotFoundError: The source does not exist, or the fonts it is drawn from are missing.
        ConnectionError: A URL cannot be reached.
        FileExistsError: `output_dir` already holds something else; it is left as it is.

    Example:
        >>> import tempfile
        >>> manifest = prepare("digits", tempfile.mkdtemp(), long_tail_factor=10)
        >>> manifest["splits"]["train"]["class_counts"]
        [124, 99, 76, 59, 46, 35, 27, 21, 16, 12]
        >>> manifest["image_shape"]
        [8, 8, 1]
    """
    options = {
        "long_tail_factor": float(long_tail_factor),
        "label_noise": float(label_noise),
        "validation_fraction": float(validation_fraction),
        "test_fraction": float(test_fraction),
        "image_size": image_size,
        "seed": seed,
        "on_error": on_error,
        # Without one the options are those of earlier versions of gb_keras.
        **({"data_version": data_version} if data_version else {}),
        **({"min_images": min_images} if min_images is not None else {}),
    }
    _check_options(
        long_tail_factor,
        label_noise,
        validation_fraction,
        test_fraction,
        image_size,
        seed,
        on_error,
        min_images,
    )
    output_dir = local_path(output_dir).resolve()
    name = full_name(data)
    existing = _existing(output_dir, name, options)
    if existing is not None:
        logger.warning("Nothing was made: %s holds this very data set already.", output_dir)
        return existing
    _check_outside(output_dir, name)
    workers = BeamWorkers(beam_options) if beam_options else None
    source = open_source(name)
    check_class_names(source.classes)

    try:
        with new_directory(output_dir) as folder, marked_as_ours(folder):
            work = folder / "work"
            work.mkdir()
            scan = read_source(source, output_dir, work, image_size, workers)
            if scan.problems and on_error == "raise":
                raise ValueError(_problem_list(scan.problems))
            plan = plan_splits(
                scan.records,
                source.classes,
                long_tail_factor=long_tail_factor,
                label_noise=label_noise,
                validation_fraction=validation_fraction,
                test_fraction=test_fraction,
                seed=seed,
                min_images=min_images,
            )
            write_splits(folder, work, source, scan, plan, workers or in_this_process)
            shutil.rmtree(work)
            manifest = _manifest(source, options, scan, plan, manifests.checksums(folder))
            write_json(folder / manifests.FILE_NAME, manifest)
    except OSError:
        # Another process may have made the very same data set meanwhile.
        existing = _existing(output_dir, name, options)
        if existing is None:
            raise
        return existing
    for split, reasons in manifest.get("left_out", {}).items():
        if reasons:
            logger.warning(
                "Of the split %s of %s: %s.",
                split,
                name,
                ", ".join(f"{count:,} {reason}" for reason, count in reasons.items()),
            )
    if small := manifest.get("left_out_classes"):
        logger.warning(
            "Left out %d classes with fewer than %d different images; they are listed as "
            "'left_out_classes' in %s.",
            len(small),
            min_images,
            output_dir / manifests.FILE_NAME,
        )
    if manifest["skipped"]:
        logger.warning(
            "Left out %d of the examples of %s; they are listed as 'skipped' in %s.",
            manifest["num_skipped"],
            name,
            output_dir / manifests.FILE_NAME,
        )
    return manifest


def _check_options(
    long_tail_factor: float,
    label_noise: float,
    validation_fraction: float,
    test_fraction: float,
    image_size: int | None,
    seed: int,
    on_error: str,
    min_images: int | None,
) -> None:
    long_tail_counts(np.ones(2), long_tail_factor)
    if not 0 <= label_noise < 1:
        raise ValueError(f"Expected `label_noise` in [0, 1). Received: {label_noise}.")
    fractions = {"validation_fraction": validation_fraction, "test_fraction": test_fraction}
    for name, value in fractions.items():
        if not 0 < value < 1:
            raise ValueError(f"Expected `{name}` in (0, 1). Received: {value}.")
    if validation_fraction + test_fraction >= 1:
        raise ValueError(
            "Expected `validation_fraction + test_fraction` below 1, so that images are left to "
            f"train on. Received: {validation_fraction} + {test_fraction}."
        )
    if image_size is not None and (not isinstance(image_size, int) or image_size < 1):
        raise ValueError(
            f"Expected `image_size` to be a number of pixels or None. Received: {image_size!r}."
        )
    if not isinstance(seed, int) or seed < 0:
        raise ValueError(f"Expected `seed` to be an int of at least 0. Received: {seed!r}.")
    if on_error not in ("raise", "skip"):
        raise ValueError(f"Expected `on_error` to be 'raise' or 'skip'. Received: {on_error!r}.")
    if min_images is not None and (not isinstance(min_images, int) or min_images < 1):
        raise ValueError(
            f"Expected `min_images` to be an int of at least 1 or None. Received: {min_images!r}."
        )


def _existing(output_dir: Path, name: str, options: dict[str, Any]) -> dict[str, Any] | None:
    """The manifest of what is already there, if it is what would be made now."""
    if not (output_dir / manifests.FILE_NAME).is_file():
        require_empty(output_dir)
        return None
    existing = manifests.read_manifest(output_dir)
    wanted = {"data": name, **options}
    made_with = {"data": existing["data"], **existing["options"]}
    if made_with == wanted:
        return existing
    different = [
        f"{key}={made_with.get(key)!r} instead of {wanted.get(key)!r}"
        for key in {**wanted, **made_with}
        if made_with.get(key) != wanted.get(key)
    ]
    raise FileExistsError(
        f"Expected a new or empty folder, or a data set made with the same options. Received: "
        f"{str(output_dir)!r}, made with {', '.join(different)}. Name another folder, or remove "
        "this one first."
    )


def _check_outside(output_dir: Path, name: str) -> None:
    """The result must not lie inside the source, where the next run would take it for data."""
    path = folder_of(name)
    if path is not None and output_dir.is_relative_to(path):
        raise ValueError(
            f"Expected `output_dir` outside of the source. Received: {str(output_dir)!r}, which "
            f"lies in {path!r}."
        )


def _problem_list(problems: list[dict[str, str]]) -> str:
    lines = "\n".join(f"  {problem['file']}: {problem['reason']}" for problem in problems)
    return (
        f"Expected every file of the source to be a readable image. Received {len(problems)} that "
        f"cannot be used:\n{lines}\n"
        "Repair or remove them, or leave them out by on_error='skip' (--on-error skip)."
    )


def _manifest(
    source: Source,
    options: dict[str, Any],
    scan: Scan,
    plan: Plan,
    checksums: dict[str, str],
) -> dict[str, Any]:
    multi_label = is_multi_label(source)
    splits = {
        split: split_counts(labels, len(plan.classes), multi_label)
        for split, labels in plan.labels.items()
    }
    made_of = getattr(source, "made_of", None)
    skipped = scan.problems + plan.dropped
    return {
        "format": manifests.FORMAT,
        "data": source.name,
        "options": options,
        "classes": list(plan.classes),
        **({"multi_label": True} if multi_label else {}),
        "image_shape": list(scan.image_shape),
        "splits": splits,
        "num_skipped": len(skipped),
        "skipped": skipped,
        "num_labels_changed": plan.num_labels_changed,
        "checksums": checksums,
        **({"left_out": scan.left_out} if scan.left_out else {}),
        **({"left_out_classes": plan.small_classes} if plan.small_classes else {}),
        **({"made_of": made_of} if made_of else {}),
        "versions": manifests.versions(),
    }
