"""SIGTERM, by which Kubernetes and batch systems end a process: noted, and told to all workers."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from gb_keras import distribution, keras_multi_worker

EXIT_CODE = 128 + signal.SIGTERM


class Termination:
    """Whether this training has been told to end, the same on all of its workers.

    Workers can only save together, so they must know of it after the same step, whichever of them
    was told. What each was told travels with the logs of a step (see
    `gb_keras.keras_multi_worker.EndRequest`).
    """

    def __init__(self) -> None:
        self._told = False

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """Within this block SIGTERM is noted instead of obeyed. Only the main thread is told."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(*_: Any) -> None:
            self._told = True

        before = signal.signal(signal.SIGTERM, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def tell_others(self) -> None:
        """Before a step: have the others told with it, where this worker has been."""
        request = keras_multi_worker.end_request
        if self._told and request is not None:
            request.make()

    def after_step(self) -> bool:
        """After a step: whether any worker has been told before it."""
        request = keras_multi_worker.end_request
        return self._told if request is None else request.is_known()

    def after_epoch(self, strategy: tf.distribute.Strategy) -> bool:
        """After an epoch: whether any worker has been told. All workers must ask."""
        return any(distribution.of_all_workers(strategy, self._told))
