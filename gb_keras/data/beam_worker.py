"""A process of Beam's local runner that says little, and ends when the main process has ended."""

import logging
import os
import shlex
import sys
import threading
import time

_SECONDS_BETWEEN_LOOKS = 0.5


def command() -> str:
    """What starts a worker of this process, for a shell."""
    program = (
        # By that name gb_keras imports nothing that was not asked for, as its command does.
        "import sys; sys.argv[0] = 'gb-keras'; "
        f"from gb_keras.data.beam_worker import main; main({os.getpid()})"
    )
    # In the shell's place the worker is a child of the process that it must not outlive.
    in_place = "exec " if os.name == "posix" else ""
    return f"{in_place}{shlex.quote(sys.executable)} -c {shlex.quote(program)}"


def main(parent: int) -> None:
    """Work until the runner says that all is done.

    Args:
        parent: Id of the process whose worker it is.
    """
    # Beam sends what it logs to the runner. Without a handler it would print all of it, too.
    logging.getLogger().addHandler(logging.NullHandler())
    if os.name == "posix":
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main([])


def _end_with(parent: int) -> None:
    """Workers of a runner that was killed would wait for it for ever."""
    while os.getppid() == parent:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    os._exit(1)
