"""Workers of one machine: processes that find each other over loopback."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def configs(num_workers: int) -> list[str]:
    """A TF_CONFIG for each of the workers, with ports that are free.

    Args:
        num_workers: Number of processes.
    """
    sockets = [socket.socket() for _ in range(num_workers)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    cluster = {"worker": [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]}
    for each in sockets:
        each.close()
    return [
        json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        for index in range(num_workers)
    ]


def start(num_workers: int, module: str, *arguments: object) -> list[subprocess.Popen]:
    """Start a module of this repository in as many processes, each with a TF_CONFIG of its own.

    Args:
        num_workers: Number of processes.
        module: Its full name.
        arguments: Of the module, the same for all.
    """
    return [
        subprocess.Popen(
            [sys.executable, "-m", module, *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, "TF_CONFIG": config},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for config in configs(num_workers)
    ]


def ended(processes: list[subprocess.Popen], timeout: float = 500) -> list[tuple[int, str]]:
    """Exit code and output of each process; all are killed where one takes too long.

    Args:
        processes: What `start` has started.
        timeout: Seconds for each.
    """
    try:
        outputs = [process.communicate(timeout=timeout)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(each.returncode, output) for each, output in zip(processes, outputs, strict=True)]
