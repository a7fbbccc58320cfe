"""The pictures of docs/tensorboard.md, from trainings of a small CNN on 5,000 images of MNIST.

    python -m benchmarks.pictures

Needs Chromium and its driver, and about five minutes.
"""

import argparse
import os
import tempfile
import time
import urllib.parse
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from selenium.webdriver.support.ui import WebDriverWait

from benchmarks.board import Server, chromium
from gb_keras.stages.prepare import prepare
from gb_keras.stages.train import train

DOCS = Path(__file__).parents[1] / "docs"
EPOCHS = 20
WIDTH = 1280
# What was done to the training labels, and the methods that then train.
RUNS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "long_tail": ({"long_tail_factor": 100.0}, ("cross_entropy", "gradient_balanced")),
    "label_noise": ({"label_noise": 0.3}, ("gradient_balanced",)),
    "healthy": ({}, ("gradient_balanced",)),
}
# File, view, run, height in pixels, and what else a link holds.
PICTURES: tuple[tuple[str, str, str, int, dict[str, Any]], ...] = (
    ("overview", "overview", "long_tail_gradient_balanced", 944, {}),
    ("long_tail", "classes", "long_tail_gradient_balanced", 794, {"class": 9}),
    ("label_noise", "overview", "label_noise_gradient_balanced", 524, {}),
    ("health", "health", "label_noise_gradient_balanced", 604, {}),
    ("healthy", "overview", "healthy_gradient_balanced", 524, {}),
    ("compare", "compare", "long_tail_gradient_balanced", 944, {}),
)


def train_all(folder: Path) -> Path:
    """Train what the pictures show; the folder of the logs."""
    logs = folder / "logs"
    for name, (changes, methods) in RUNS.items():
        prepare("mnist5k", folder / name, **changes)
        for method in methods:
            run = f"{name}_{method}"
            train(
                folder / name,
                folder / run,
                loss=method,
                epochs=EPOCHS,
                log_dir=logs / run,
                verbose=0,
            )
    return logs


def draw(logs: Path, folder: Path) -> None:
    """Write a picture of each view."""
    with Server(logs) as server, chromium() as driver:
        driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
        wait = WebDriverWait(driver, 60, 0.1)
        for name, view, run, height, others in PICTURES:
            # TensorBoard's own bar is 64 pixels high.
            size = {"width": WIDTH, "height": height + 64, "deviceScaleFactor": 1, "mobile": False}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            state = {"view": view, "run": run, **others}
            link = urllib.parse.urlencode(
                {f"p.gradient_balance.{key}": value for key, value in state.items()}
            )
            # Another document first: to change what follows the # alone would load nothing.
            driver.get("about:blank")
            driver.get(f"{server.host}#gradient_balance&{link}")
            [frame] = wait.until(
                lambda d: d.find_elements("css selector", "iframe[src*=gradient_balance]")
            )
            driver.switch_to.frame(frame)
            wait.until(
                lambda d, view=view: d.execute_script("return document.body?.dataset.ready") == view
            )
            time.sleep(1)  # transitions of the page's own controls
            driver.switch_to.default_content()
            frame.screenshot(str(folder / f"dashboard_{name}.png"))


def main() -> None:
    """Train, and draw."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    with tempfile.TemporaryDirectory() as name:
        draw(train_all(Path(name)), DOCS)


if __name__ == "__main__":
    main()
