"""A TensorBoard over a directory, and a browser to look at it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from selenium import webdriver


class Server:
    """A TensorBoard over a directory.

    Attributes:
        host: Its address, with a slash at the end.
    """

    def __init__(self, folder: Path):
        command = [str(Path(sys.executable).with_name("tensorboard")), "--port", "0"]
        self.process = subprocess.Popen(
            [*command, "--logdir", str(folder)], stderr=subprocess.PIPE, text=True
        )
        for line in self.process.stderr or ():
            found = re.search(r"at (http://\S+)", line)
            if found:
                self.host = found[1]
                return
        raise RuntimeError("TensorBoard has not started.")

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        self.process.wait()


def chromium() -> webdriver.Chrome:
    """A browser without a window.

    Raises:
        FileNotFoundError: Chromium or its driver is not installed.
    """
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        raise FileNotFoundError(
            "Expected Chromium and its driver on the PATH. Install them: "
            "apt-get install chromium chromium-driver"
        )
    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.binary_location = program
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
