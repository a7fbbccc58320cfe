"""How fast training images come, against the limit: decoding them with TensorFlow and nothing else.

    python -m benchmarks.input [--image-size 224] [--num-images 512] [--rounds 8] [--epochs 10]

Photographs that come with scikit-learn are cut into pieces and prepared as a data set. Then
decoding alone (the shards read, each image decoded, by as many threads as TensorFlow likes) takes
turns with `load_split` as `gb-keras train` calls it, plain and augmented. At the end one stream
runs for some epochs, and the peak of memory of each is printed.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import rich
import rich.table
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_sample_images

from benchmarks.memory import peak_mib, reset_peak
from gb_keras.data.pipeline import load_split
from gb_keras.stages.prepare import prepare

BATCH_SIZE = 64
AUGMENTATIONS = {
    "load_split": [],
    "with crop and flip": ["crop", "flip"],
    "with rand_augment": ["rand_augment"],
    "with mixup and cutmix": ["mixup", "cutmix"],
}


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--image-size", type=int, default=224, help="side in pixels")
    parser.add_argument("--num-images", type=int, default=512, help="training images")
    parser.add_argument("--epochs", type=int, default=10, help="whose memory is measured")
    parser.add_argument("--rounds", type=int, default=8, help="measurements of each stream")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        _put_photographs(Path(folder) / "photos", arguments.image_size, arguments.num_images)
        prepare(f"folder:{folder}/photos", data, validation_fraction=0.02, test_fraction=0.02)
        rates: dict[str, list[float]] = {name: [] for name in _streams(data, arguments.image_size)}
        for _ in range(arguments.rounds):
            for name, dataset in _streams(data, arguments.image_size).items():
                rates[name].append(_images_per_second(dataset, arguments.num_images))
        stream = iter(_streams(data, arguments.image_size)["load_split"])
        peaks = []
        for _ in range(arguments.epochs):
            reset_peak()
            _take(stream, arguments.num_images)
            peaks.append(peak_mib())
    size = arguments.image_size
    _print(rates, f"{arguments.num_images} PNG of {size} x {size}, {arguments.rounds} rounds")
    rich.print("Peak memory by epoch, MiB:", " ".join(f"{peak:,.0f}" for peak in peaks))


def _streams(data: Path, image_size: int) -> dict[str, tf.data.Dataset]:
    """Endless streams of batches by name, the limit first."""
    streams = {"decoding alone": _decoded(data).repeat()}
    for name, augmentation in AUGMENTATIONS.items():
        streams[name] = load_split(
            data,
            "train",
            batch_size=BATCH_SIZE,
            image_size=(image_size, image_size),
            shuffle=True,
            repeat=True,
            augmentation=augmentation,
        )
    return streams


def _images_per_second(dataset: tf.data.Dataset, num_images: int) -> float:
    """Of a new pass over a stream, after TensorFlow has found out how many threads it takes."""
    stream = iter(dataset)
    _take(stream, num_images)
    start = time.perf_counter()
    num_taken = _take(stream, num_images)
    return num_taken / (time.perf_counter() - start)


def _take(stream: Iterator, num_images: int) -> int:
    """Take at least so many images; how many they were."""
    num_taken = 0
    while num_taken < num_images:
        num_taken += len(next(stream)[0])
    return num_taken


def _put_photographs(folder: Path, size: int, number: int) -> None:
    """Different pieces of photographs, in two classes of equal size."""
    generator = np.random.default_rng(0)
    for label, photo in enumerate(load_sample_images().images):
        (folder / str(label)).mkdir(parents=True)
        # Enlarged by a random factor, a piece has no more detail than the camera has seen.
        for index in range(round(number / 2 / 0.96)):
            scale = generator.uniform(1.0, 1.5) * max(1.0, size / min(photo.shape[:2]))
            height, width = (round(side * scale) for side in photo.shape[:2])
            top, left = (generator.uniform(0, side - size) for side in (height, width))
            box = np.array([left, top, left + size, top + size]) / scale
            box = np.minimum(box, [*photo.shape[1::-1]] * 2)
            piece = Image.fromarray(photo).resize((size, size), Image.Resampling.BILINEAR, box)
            piece.save(folder / str(label) / f"{index}.png")


def _decoded(data: Path) -> tf.data.Dataset:
    """Batches of one image, uint8, of the same files."""
    files = sorted(map(str, data.glob("*-train.tfrecord-*")))
    feature = {"image": tf.io.FixedLenFeature([], tf.string)}

    def decode(record: tf.Tensor) -> tf.Tensor:
        image = tf.io.parse_single_example(record, feature)["image"]
        return (tf.io.decode_png(image, channels=3)[tf.newaxis],)

    records = tf.data.TFRecordDataset(files)
    return records.map(decode, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def _print(rates: dict[str, list[float]], title: str) -> None:
    table = rich.table.Table(title=title, title_justify="left")
    table.add_column("stream")
    for column in ("images/s", "of the limit", "quartiles"):
        table.add_column(column, justify="right")
    limit = rates["decoding alone"]
    for name, values in rates.items():
        ratios = [value / most for value, most in zip(values, limit, strict=True)]
        low, _, high = statistics.quantiles(ratios, n=4)
        table.add_row(
            name,
            f"{statistics.median(values):,.0f}",
            f"{statistics.median(ratios):.2f}",
            f"{low:.2f} to {high:.2f}",
        )
    rich.print(table)


if __name__ == "__main__":
    main()
