"""Containers of an image, by whichever engine there is, as strict clusters run them."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Some user that the image has never heard of.
USER = 54321
# A folder that there is in any image: none can be made in one that cannot be written to.
OUTPUT = "/mnt"


class Container:
    """Runs commands in an image: as an unknown user, with a root file system it cannot write to.

    Args:
        engine: docker, podman or buildah. The last builds images and shows their files; commands
            in them are then run by bubblewrap.
        image: Name of the image.
        folder: Folder of this machine that is `OUTPUT` in there, and can be written to.
    """

    def __init__(self, engine: str, image: str, folder: Path):
        self.engine, self.image, self.folder = engine, image, folder
        folder.chmod(0o777)

    def run(self, *command: str) -> str:
        """What a command prints.

        Raises:
            RuntimeError: It failed; with what it printed as an error.
        """
        if self.engine != "buildah":
            return self._call(
                *("run", "--rm", "--read-only", "--tmpfs", "/tmp", "--user", f"{USER}:{USER}"),
                *("--volume", f"{self.folder}:{OUTPUT}", self.image, *command),
            )
        container = self._call("from", "--pull-never", self.image).strip()
        try:
            root = self._call("mount", container).strip()
            variables = (pair.split("=", 1) for pair in self.config()["Env"])
            options = [
                *("--ro-bind", root, "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"),
                *("--bind", str(self.folder), OUTPUT, "--chdir", OUTPUT),
                *("--unshare-user", "--uid", str(USER), "--gid", str(USER), "--die-with-parent"),
                *("--clearenv", *(part for each in variables for part in ("--setenv", *each))),
            ]
            return _output(["bwrap", *options, "--", *command])
        finally:
            self._call("rm", container)

    def config(self) -> dict[str, Any]:
        """The image's configuration: `User`, `Env`, `Cmd`, `Labels`."""
        if self.engine == "buildah":
            return json.loads(self._call("inspect", "--type", "image", self.image))["OCIv1"][
                "config"
            ]
        return json.loads(self._call("image", "inspect", self.image))[0]["Config"]

    def _call(self, *arguments: str) -> str:
        return _output([self.engine, *arguments])


def _output(command: Sequence[str]) -> str:
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{command} ended with {result.returncode}: {result.stderr}")
    return result.stdout
