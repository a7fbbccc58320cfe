"""Workers as forks of a process that has imported what takes longest, and started nothing.

TensorFlow starts its threads and devices when it is first used, hence in each fork for itself.
"""

import os
import signal
import sys
import time
import traceback

from benchmarks import loopback

# Longer than what a test does takes on a busy machine.
SECONDS = 240


def run(num_workers, work, outputs):
    """Fork workers, have each do its work, and wait for them.

    Args:
        num_workers: Their number; one alone gets no TF_CONFIG.
        work: Takes the worker's number.
        outputs: Path of a file for each worker's output.

    Returns:
        Exit codes, negative ones of signals.
    """
    sys.stdout.flush()
    processes = []
    for worker, config in enumerate(loopback.configs(num_workers)):
        process = os.fork()
        if process == 0:
            if num_workers > 1:
                os.environ["TF_CONFIG"] = config
            _be(worker, work, outputs[worker])
        processes.append(process)
    return _ended(processes)


def _be(worker, work, output):
    """What a worker is, from its fork to its end."""
    for descriptor in (1, 2):
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    code = 1
    try:
        work(worker)
        code = 0
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    os._exit(code)


def _ended(processes):
    """Their exit codes; what takes too long is killed."""
    codes, deadline = {}, time.monotonic() + SECONDS
    while len(codes) < len(processes):
        for process in set(processes) - set(codes):
            found, status = os.waitpid(process, os.WNOHANG)
            if found:
                codes[process] = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > deadline:
                os.kill(process, signal.SIGKILL)
        time.sleep(0.02)
    return [codes[process] for process in processes]
