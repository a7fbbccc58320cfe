"""The benchmark of `prepare`: it counts the memory of all processes, and its images are images."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from benchmarks.memory import run_with_peak
from benchmarks.prepare import NUM_CLASSES, SIZE, make_images

HOLD = "held = bytearray(150 << 20); held[::4096] = b'x' * len(held[::4096])"
START = f"import subprocess, sys; {HOLD}; subprocess.run([sys.executable, '-c', sys.argv[1]])"


def test_memory_of_all_processes_is_counted():
    rest = f"{HOLD}; import time; time.sleep(0.5)"
    *_, one = run_with_peak([sys.executable, "-c", rest])
    *_, two = run_with_peak([sys.executable, "-c", START, rest])
    assert 150 < one < 200
    assert 300 < two < 400


def test_processors_of_all_processes_are_counted():
    work = "import time; start = time.process_time()\nwhile time.process_time() < start + 0.5: pass"
    _, seconds, _ = run_with_peak([sys.executable, "-c", START, work])
    assert 0.5 < seconds < 2


def test_a_command_that_fails_is_an_error():
    with pytest.raises(subprocess.CalledProcessError):
        run_with_peak([sys.executable, "-c", "raise SystemExit(3)"])


def test_images_are_different_and_of_all_classes(tmp_path):
    make_images(tmp_path / "images", 2 * NUM_CLASSES)
    files = sorted((tmp_path / "images").rglob("*.jpg"))
    assert len({path.parent.name for path in files}) == NUM_CLASSES
    pixels = [np.asarray(Image.open(path)) for path in files]
    assert {each.shape for each in pixels} == {(SIZE[1], SIZE[0], 3)}
    assert len({each.tobytes() for each in pixels}) == 2 * NUM_CLASSES
