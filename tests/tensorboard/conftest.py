"""Logs that real trainings have written, and TensorBoard to read them."""

import json
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import keras
import numpy as np
import pytest
from tensorboard.summary.writer.event_file_writer import EventFileWriter

import gb_keras
from gb_keras.callbacks import GradientBalanceTensorBoard
from gb_keras.tensorboard import history, metadata

NAMES = ["plane", "car <b>x</b>", "bird", "=cat", "deer"]


def train(
    log_dir,
    *,
    num_classes=5,
    balanced=True,
    noise=0.0,
    finite=True,
    epochs=4,
    names=None,
    **options,
):
    """Train a small classifier on a long tail, with the callback under test."""
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    centres = random.normal(0, 2, (num_classes, 8))
    labels = np.minimum(random.geometric(0.4, 600) - 1, num_classes - 1)
    features = (centres[labels] + random.normal(0, 1, (600, 8))).astype(np.float32)
    labels = np.where(random.random(600) < noise, random.integers(0, num_classes, 600), labels)
    inputs = keras.Input((8,))
    hidden = keras.layers.Dense(32, activation="relu")(inputs)
    outputs = keras.layers.Dense(num_classes)(hidden)
    base = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    if balanced:
        model = gb_keras.GradientBalancedModel(inputs, outputs)
        model.compile(
            keras.optimizers.Adam(0.02),
            loss=gb_keras.GradientBalancedLoss(base),
            metrics=[gb_keras.metrics.BalancedAccuracy()],
        )
    else:
        model = keras.Model(inputs, outputs)
        model.compile(keras.optimizers.Adam(0.02), loss=base)
    if not finite:
        model.layers[-1].bias.assign(np.full(num_classes, np.nan))
    callback = GradientBalanceTensorBoard(log_dir, class_names=names, **options)
    model.fit(
        features,
        labels,
        batch_size=50,
        epochs=epochs,
        validation_data=(features[:100], labels[:100]),
        callbacks=[callback],
        verbose=0,
    )
    return model


@pytest.fixture(scope="session")
def logs(tmp_path_factory):
    """A directory with three runs: balanced, observed with label noise, and of many classes."""
    folder = tmp_path_factory.mktemp("logs")
    train(folder / "balanced", names=NAMES)
    train(folder / "noise", balanced=False, noise=0.3, epochs=12, names=NAMES)
    many = [f"species {index}" for index in range(1000)]
    train(folder / 'many "><script>alert(1)<' / "script>", num_classes=1000, names=many, epochs=2)
    return folder


def rewrite(source, target, change):
    """Copy a run's summaries; `change` may alter a value, and leaves it out by returning False."""
    writer = EventFileWriter(str(target), filename_suffix=metadata.FILE_SUFFIX)
    for event in history.events(source):
        [value] = event.summary.value
        if change(value, event.step) is not False:
            writer.add_event(event)
    writer.close()


def write_malformed(source, target, kind):
    """Copy a run's summaries, the tensor of a kind at step 24 with a piece of its bytes alone."""

    def cut(value, step):
        if step == 24 and value.tag.endswith(f"/{kind}"):
            value.tensor.tensor_content = value.tensor.tensor_content[:7]

    rewrite(source, target, cut)


# TensorBoard's own command, in a process that has no TensorFlow: so it starts in a second.
_PROGRAM = """
import sys

class WithoutTensorFlow:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "keras"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, WithoutTensorFlow())
from tensorboard.main import run_main
run_main()
"""


class Board:
    """A TensorBoard that serves a log directory, until `close`."""

    def __init__(self, log_dir, load_fast, *flags):
        arguments = [f"--logdir={log_dir}", "--port=0", f"--load_fast={load_fast}"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *arguments, "--reload_interval=1", *flags],
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said = []
        for line in self.process.stderr:
            self.said.append(line)
            found = re.search(r"at (http://\S+)", line)
            if found:
                self.url = found.group(1)
                break
        else:
            raise RuntimeError("".join(self.said))
        # What it says later must not fill the pipe.
        self.listener = threading.Thread(target=self.said.extend, args=[self.process.stderr])
        self.listener.start()

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.listener.join()
        self.process.stderr.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def ask(self, path, headers=None, **arguments):
        """Status, headers and body of a route of the plugin; JSON where it is that."""
        query = f"?{urllib.parse.urlencode(arguments)}" if arguments else ""
        request = urllib.request.Request(
            f"{self.url}data/plugin/gradient_balance/{path}{query}", headers=headers or {}
        )
        try:
            with urllib.request.urlopen(request) as response:
                status, found, body = response.status, response.headers, response.read()
        except urllib.error.HTTPError as error:
            status, found, body = error.code, error.headers, error.read()
            error.close()
        if found.get_content_type() == "application/json" and body:
            body = json.loads(body)
        return status, found, body

    def get(self, path, **arguments):
        """The body of an answer that must be there."""
        status, _, body = self.ask(path, **arguments)
        assert status == 200, body
        return body

    def wait_for(self, num_runs, seconds=60):
        """Wait until so many runs are read as a whole."""
        end = time.monotonic() + seconds
        before = None
        while time.monotonic() < end:
            runs = self.get("runs")["runs"]
            if len(runs) >= num_runs and runs == before:
                return runs
            before = runs
            time.sleep(1.2)
        raise TimeoutError(f"Expected {num_runs} runs, got {before}.")
