"""Real workers: processes of this machine that train together over loopback."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).with_name("worker_program.py")


def start(num_workers: int, *arguments: object) -> list[subprocess.Popen]:
    """Start as many processes of the worker program, each with a port and a TF_CONFIG of its own.

    Args:
        num_workers: Number of processes.
        arguments: Of the program, the same for all.
    """
    sockets = [socket.socket() for _ in range(num_workers)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return [
        subprocess.Popen(
            [sys.executable, "-m", "tests.worker_program", *map(str, arguments)],
            cwd=PROGRAM.parent.parent,
            env={
                **os.environ,
                "TF_CONFIG": json.dumps(
                    {
                        "cluster": {"worker": addresses},
                        "task": {"type": "worker", "index": index},
                    }
                ),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(num_workers)
    ]


def ended(processes: list[subprocess.Popen], timeout: float = 500) -> list[tuple[int, str]]:
    """Exit code and output of each process, which are killed where one takes too long."""
    try:
        outputs = [process.communicate(timeout=timeout)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(each.returncode, output) for each, output in zip(processes, outputs, strict=True)]


def run(num_workers: int, *arguments: object) -> None:
    """Run the program in as many processes, to its good end."""
    for code, output in ended(start(num_workers, *arguments)):
        assert code == 0, output
