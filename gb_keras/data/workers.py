"""Who does the work: this process, or workers of an Apache Beam pipeline."""

import contextlib
import difflib
import io
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from gb_keras.data import beam_worker

Item = TypeVar("Item")

# Beam's own choice for DirectRunner would be Prism: a program that it downloads, and which runs
# all of the work in one process.
_LOCAL_RUNNER = "FnApiRunner"
# Options with the addresses of clusters, as an example has them.
_ADDRESSES = {
    "FlinkRunner": ("flink_master", "HOST:8081"),
    "SparkRunner": ("spark_master_url", "spark://HOST:7077"),
}
# Shares of the work for a worker, so that none waits long for the slowest.
_SHARES_OF_WORKER = 4
# And where nobody knows how many workers there will be.
_SHARES = 64


class Each(Protocol):
    """Calls a function once for each item, in any order, here or elsewhere.

    The function leaves its results in files. It may be called again where a worker has failed.
    """

    def __call__(self, function: Callable[[Item], None], items: Sequence[Item]) -> None:
        """Return when all is done."""
        ...


def in_this_process(function: Callable[[Item], None], items: Sequence[Item]) -> None:
    """Do all in this process, one after the other; an `Each`.

    Args:
        function: What to do with an item.
        items: The items.

    Example:
        >>> in_this_process(print, ["a", "b"])
        a
        b
    """
    for item in items:
        function(item)


class BeamWorkers:
    """An `Each` that runs as an Apache Beam pipeline.

    Without a runner among the options, and with `DirectRunner`, the pipeline runs on this machine,
    with a process for each of its cores; `direct_num_workers` and `direct_running_mode` change
    that. On other runners workers must have gb_keras installed, and see source and result under
    the same paths as this process.

    Args:
        given: Options of Beam and its runners as `NAME=VALUE`, such as `"runner=FlinkRunner"`;
            one that has several values comes several times.

    Attributes:
        options: The options as Beam has them.
        num_shares: Into how many items to divide a large piece of work.

    Raises:
        ValueError: Beam is not installed, an option is unknown or has no such value, or a runner
            lacks the address of its cluster.

    Example:
        >>> workers = BeamWorkers(["direct_num_workers=2"])
        >>> workers.options.get_all_options(drop_default=True)["direct_num_workers"]
        2
    """

    def __init__(self, given: Iterable[str]) -> None:
        _import_beam()
        from apache_beam.options import pipeline_options

        given = list(given)
        known = pipeline_options.PipelineOptions([]).get_all_options()
        chosen = _by_name(given, known)
        if chosen.get("runner", "DirectRunner") == "DirectRunner":
            chosen["runner"] = _LOCAL_RUNNER
        _require_address(chosen)
        local = chosen["runner"] == _LOCAL_RUNNER
        number = chosen.get("direct_num_workers", "0")
        if number.startswith("-"):
            raise ValueError(
                "Expected direct_num_workers to be a number of processes, or 0 for one for each "
                f"core. Received: {number!r}."
            )
        mode = chosen.get("direct_running_mode", "multi_processing")
        self._own_processes = local and mode == "multi_processing"
        if self._own_processes:
            # In Beam's words, what follows is no mode of its own.
            chosen["direct_running_mode"] = "in_memory"
        if local and chosen.get("direct_num_workers", "0" if self._own_processes else "1") == "0":
            chosen["direct_num_workers"] = str(os.cpu_count() or 1)
        printed = io.StringIO()
        try:
            with contextlib.redirect_stderr(printed):
                self.options = pipeline_options.PipelineOptions.from_dictionary(chosen)
                values = self.options.get_all_options()
        except SystemExit as error:
            # Beam's parser has printed hundreds of options, and in the last line which is wrong.
            why = printed.getvalue().strip().rpartition("\n")[2]
            raise ValueError(
                "Expected options of Apache Beam with such values as they take. Received: "
                f"{given}; {why}."
            ) from error
        self.num_shares = _SHARES_OF_WORKER * values["direct_num_workers"] if local else _SHARES

    def __call__(self, function: Callable[[Item], None], items: Sequence[Item]) -> None:
        """Run a pipeline, and return when it is done.

        Raises:
            RuntimeError: A worker has failed; the message has its error.
        """
        import apache_beam as beam

        logger = logging.getLogger("apache_beam")
        level = logger.level
        logger.setLevel(logging.ERROR)
        try:
            with beam.Pipeline(self._runner(), options=self.options) as pipeline:
                add_work(pipeline, function, items)
        finally:
            logger.setLevel(level)

    def _runner(self) -> Any:
        """Beam's local runner with processes of ours, or `None` for what the options say."""
        if not self._own_processes:
            return None
        from apache_beam.runners.portability.fn_api_runner import FnApiRunner
        from apache_beam.transforms.environments import SubprocessSDKEnvironment

        return FnApiRunner(SubprocessSDKEnvironment.from_command_string(beam_worker.command()))


def add_work(pipeline: Any, function: Callable[[Item], None], items: Sequence[Item]) -> None:
    """Put the work into a Beam pipeline: nothing but the items goes from worker to worker.

    Args:
        pipeline: The pipeline.
        function: What to do with an item.
        items: The items.
    """
    import apache_beam as beam

    # Reshuffled, as a runner would do all items in the one worker that has created them.
    _ = pipeline | beam.Create(items) | beam.Reshuffle() | beam.Map(function)


def _import_beam() -> None:
    """Import Beam without the handler for all logs that it would leave behind."""
    handler = logging.NullHandler()
    logging.getLogger().addHandler(handler)
    try:
        import apache_beam  # noqa: F401
    except ModuleNotFoundError as error:
        raise ValueError(
            "Expected apache-beam to be installed where there are Beam options. Received: "
            f"{error}. Install it: pip install 'gb-keras[beam]'"
        ) from error
    finally:
        logging.getLogger().removeHandler(handler)


def _require_address(chosen: Mapping[str, Any]) -> None:
    """Refuse a cluster without an address: Beam would download one and start it here."""
    runner = chosen["runner"]
    address = _ADDRESSES.get(runner)
    if address is not None and not chosen.keys() & {address[0], "job_endpoint"}:
        raise ValueError(
            f"Expected {address[0]}={address[1]}, the address of the cluster, with "
            f"runner={runner}. Received: none. For this machine alone: runner=DirectRunner."
        )


def _by_name(given: Iterable[str], known: dict[str, Any]) -> dict[str, Any]:
    """Values by name, a list where an option comes several times."""
    chosen: dict[str, Any] = {}
    for text in given:
        name, mark, value = text.partition("=")
        if not mark:
            raise ValueError(f"Expected Beam options as NAME=VALUE. Received: {text!r}.")
        if name not in known:
            # Without a list of them, as there are hundreds.
            nearest = difflib.get_close_matches(name, known, n=1)
            raise ValueError(
                "Expected an option of Apache Beam or one of its runners. Received: "
                f"{name!r}." + (f" Did you mean {nearest[0]!r}?" if nearest else "")
            )
        if isinstance(known[name], bool):
            if value not in ("true", "false"):
                raise ValueError(f"Expected {name}=true or {name}=false. Received: {text!r}.")
            chosen[name] = value == "true"
        elif name in chosen:
            before = chosen[name]
            chosen[name] = [*(before if isinstance(before, list) else [before]), value]
        else:
            chosen[name] = value
    return chosen
