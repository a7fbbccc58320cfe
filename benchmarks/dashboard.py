"""What the Gradient Balance page costs: starting TensorBoard, training with it, and asking it.

Start-up is the time to import the plugin in a new process. Training is a balanced model with the
callback, against the same model without it, block by block in one process. Answers are those of a
real TensorBoard over logs that the project's own writer has made.

    python -m benchmarks.dashboard [--runs 100] [--points 100] [--classes 1000] [--pairs 31]
"""

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

import gb_keras
from benchmarks.board import Server, chromium
from benchmarks.overhead.measure import SECONDS_PER_BLOCK, Runner
from gb_keras.callbacks import GradientBalanceTensorBoard
from gb_keras.tensorboard import metadata, snapshot, summary

LAST_STEP = 100_000
STEPS_PER_EPOCH = 1000
CASES = ("mlp", "small_cnn", "classes_10000")


def start_up(times: int = 9) -> float:
    """Median seconds that importing the plugin takes where TensorBoard is imported already."""
    program = (
        "import tensorboard.default, time; start = time.perf_counter();"
        "import gb_keras.tensorboard.plugin; print(time.perf_counter() - start)"
    )
    command = [sys.executable, "-c", program]
    return statistics.median(
        float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for _ in range(times)
    )


def training_cost(case: str, pairs: int) -> dict[str, float]:
    """What the callback adds to training: in each step, and at the end of each epoch.

    In each step mass and balanced histogram are counted: the median over pairs of blocks of the
    ratio of step times. At the end of an epoch everything is written: the median of its
    milliseconds.
    """
    plain, watched = Runner(case, "balanced"), Runner(case, "balanced")
    callback = GradientBalanceTensorBoard(tempfile.mkdtemp())
    callback.set_params({"steps": STEPS_PER_EPOCH})
    callback.set_model(watched.model)
    callback.on_train_begin()
    plain.seconds(5)
    # Past the first batches, each of which is watched.
    watched.seconds(110)
    steps = max(3, round(SECONDS_PER_BLOCK / (plain.seconds(10) / 10)))
    ratios, step_ms, write_ms = [], [], []
    for pair in range(pairs):
        order = (plain, watched) if pair % 2 else (watched, plain)
        seconds = {runner: runner.seconds(steps) / steps for runner in order}
        ratios.append(seconds[watched] / seconds[plain])
        step_ms.append(1e3 * seconds[plain])
        start = time.perf_counter()
        callback.on_epoch_end(pair, {"loss": 1.0, "base_loss": 1.0})
        write_ms.append(1e3 * (time.perf_counter() - start))
    callback.on_train_end()
    figures = {
        "step_ms": statistics.median(step_ms),
        "step_ratio": statistics.median(ratios),
        "write_ms": statistics.median(write_ms),
    }
    share = figures["write_ms"] / (STEPS_PER_EPOCH * figures["step_ms"])
    return {**figures, "total": figures["step_ratio"] + share}


def write_logs(folder: Path, runs: int, points: int, num_classes: int) -> None:
    """Runs of `points` summaries each, up to step 100,000."""
    loss = gb_keras.GradientBalancedLoss()
    random = np.random.default_rng(0)
    statistic = gb_keras.GradientDensity(loss.bins, loss.momentum)
    statistic.watch()
    statistic.build(num_classes)
    statistic.histogram.assign(random.gamma(0.3, size=(num_classes, loss.bins)))
    statistic.class_counts.assign(random.gamma(1.0, size=num_classes) * 1e4)
    statistic.watched.mass.assign(random.gamma(1.0, size=(2, num_classes)))
    [taken] = snapshot.take("output", loss, statistic, balanced=True)
    names = [f"class {index}" for index in range(num_classes)]
    for run in range(runs):
        writer = tf.summary.create_file_writer(
            str(folder / f"run_{run:03d}"), filename_suffix=metadata.FILE_SUFFIX
        )
        with writer.as_default():
            summary.class_names(taken, names)
            for step in np.linspace(1, LAST_STEP, points).astype(int):
                scalars = {"loss": 1.0, "base_loss": 1.0, "num_epochs": step / 1000}
                summary.gradient_balance(taken, int(step), scalars=scalars)
        writer.close()


class Asked(Server):
    """A TensorBoard whose answers are timed."""

    def wait_for(self, runs: int) -> None:
        """Wait until so many runs are read to their last step."""
        while self.ask("runs")[1].count(f'"last_step":{LAST_STEP}'.encode()) < runs:
            time.sleep(1)

    def ask(self, path: str, **arguments: object) -> tuple[float, bytes]:
        """Milliseconds and body of an answer."""
        query = urllib.parse.urlencode(arguments)
        start = time.perf_counter()
        with urllib.request.urlopen(
            f"{self.host}data/plugin/gradient_balance/{path}?{query}"
        ) as response:
            body = response.read()
        return 1e3 * (time.perf_counter() - start), body


def latencies(server: Asked, runs: int) -> dict[str, list[float]]:
    """Milliseconds of each kind of answer, asked once of each run: none is in a cache."""
    found = {"all runs": [server.ask("runs")[0] for _ in range(5)]}
    questions = {
        "overview: series": ("series", {}),
        "overview: last step": ("step", {}),
        "overview: another step": ("step", {"step": 50_000}),
        "classes: first page": ("classes", {}),
        "classes: sorted by name": ("classes", {"sort": "name"}),
        "classes: search": ("classes", {"search": "99"}),
        "classes: another step": ("classes", {"step": 50_000}),
        "classes: ranking": ("ranking", {"column": "mass"}),
        "one class": ("series", {"class": 3}),
        "health": ("health", {}),
        "download of the classes": ("download", {"table": "classes"}),
    }
    for run in range(min(runs, 15)):
        of = {"run": f"run_{run:03d}", "statistic": "output"}
        for name, (path, arguments) in questions.items():
            found.setdefault(name, []).append(server.ask(path, **of, **arguments)[0])
    return found


def first_pictures(server: Asked, times: int = 7) -> list[float]:
    """Milliseconds from the page's own start until its overview is drawn, in Chromium.

    The first browser to ask has nothing in its cache; the others have the plotting library.
    """
    measured = []
    with chromium() as driver:
        for _ in range(times):
            driver.get(f"{server.host}data/plugin_entry.html?name=gradient_balance")
            script = "return document.body.dataset.ready && performance.now()"
            milliseconds = None
            while not milliseconds:
                milliseconds = driver.execute_script(script)
            measured.append(milliseconds)
    return measured


def main() -> None:
    """Measure and print tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=100, help="runs in the logs")
    parser.add_argument("--points", type=int, default=100, help="summaries of each run")
    parser.add_argument("--classes", type=int, default=1000, help="classes of each run")
    parser.add_argument("--pairs", type=int, default=31, help="pairs of blocks per case")
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, TensorFlow {tf.__version__}\n")
    print(f"Start-up of TensorBoard with the plugin: {1e3 * start_up():.0f} ms more\n")

    print("| training | step ms | step ratio | a write, ms | in all, 1,000 steps per epoch |")
    print("|---|---|---|---|---|")
    for case in CASES:
        cost = training_cost(case, arguments.pairs)
        print(
            f"| {case} | {cost['step_ms']:.2f} | {cost['step_ratio']:.3f} | "
            f"{cost['write_ms']:.0f} | {cost['total']:.3f} |",
            flush=True,
        )

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_logs(folder, arguments.runs, arguments.points, arguments.classes)
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        print(
            f"\n{arguments.runs} runs of {arguments.points} summaries up to step {LAST_STEP:,}, "
            f"{arguments.classes:,} classes: {size / 2**20:.0f} MiB\n"
        )
        with Asked(folder) as server:
            server.wait_for(arguments.runs)
            print("| answer | median ms | slowest ms |")
            print("|---|---|---|")
            for name, measured in latencies(server, arguments.runs).items():
                print(f"| {name} | {statistics.median(measured):.0f} | {max(measured):.0f} |")
            if shutil.which("chromedriver"):
                first, *others = first_pictures(server)
                print(
                    f"\nFirst picture in Chromium: {first:.0f} ms, and "
                    f"{statistics.median(others):.0f} ms (median) with the plotting library in "
                    "the browser's cache"
                )
            else:
                print("\nNo first picture: Chromium and its driver are not installed.")


if __name__ == "__main__":
    main()
