"""What preparing a data set costs: images a second, and memory, as the data grow.

JPEG files are made in a temporary folder, then `gb-keras prepare` runs on them, in one process and
as a Beam pipeline with a process for each of so many cores. Seconds of processors, start-up
included, hardly depend on what else the machine does. Memory is the sum over all processes, so that
of a pipeline has one interpreter with TensorFlow for each worker in it.

    python -m benchmarks.prepare [--images 400] [--factors 1 4 16] [--workers 2]
"""

import argparse
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from PIL import Image

from benchmarks.memory import run_with_peak

NUM_CLASSES = 8
# Width and height in pixels.
SIZE = (160, 120)


def make_images(folder: Path, number: int) -> None:
    """Write JPEG files of soft colours with grain, all different, in a folder for each class."""
    generator = np.random.default_rng(0)
    for index in range(NUM_CLASSES):
        (folder / str(index)).mkdir(parents=True)
    for index in range(number):
        colours = Image.fromarray(generator.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        picture = np.asarray(colours.resize(SIZE, Image.Resampling.BICUBIC), dtype=np.int16)
        grain = generator.integers(-6, 7, picture.shape, dtype=np.int16)
        pixels = np.clip(picture + grain, 0, 255).astype(np.uint8)
        name = folder / str(index % NUM_CLASSES) / f"{index:06d}.jpg"
        Image.fromarray(pixels).save(name, quality=90)


def measure(folder: Path, workers: int | None) -> tuple[float, float, float]:
    """What `run_with_peak` tells of preparing a folder, by Beam's workers or in one process."""
    output = folder.parent / "prepared"
    command = [sys.executable, "-m", "gb_keras", "prepare", "--data", f"folder:{folder}"]
    command += ["--output", str(output)]
    if workers is not None:
        command += ["--beam-option", f"direct_num_workers={workers}"]
    result = run_with_peak(command)
    shutil.rmtree(output)
    return result


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=400, help="images of the smallest folder")
    parser.add_argument("--factors", type=int, nargs="+", default=[1, 4, 16], help="times as many")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes of Beam")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, {platform.machine()}, {platform.platform()}", file=sys.stderr)
    print("| images | by | seconds | images a second | seconds of processors | peak memory, MiB |")
    print("|---:|---|---:|---:|---:|---:|")
    for factor in arguments.factors:
        number = arguments.images * factor
        with tempfile.TemporaryDirectory() as root:
            folder = Path(root) / "images"
            make_images(folder, number)
            for workers in (None, arguments.workers):
                by = "one process" if workers is None else f"Beam, {workers} workers"
                seconds, processors, peak = measure(folder, workers)
                cells = [f"{number:,}", by, f"{seconds:.0f}", f"{number / seconds:.0f}"]
                cells += [f"{processors:.0f}", f"{peak:,.0f}"]
                print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
