"""Read gradient balance summaries back, through TensorBoard's data provider alone.

So they are read alike from a local directory, by TensorBoard's Rust or Python server, and from
wherever else a data provider gets its data.
"""

import collections
import contextlib
import dataclasses
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tensorboard.data import provider

from gb_keras.tensorboard import metadata

# Samples kept in memory per tag: what a screen shows as columns of a heat map. TensorBoard's own
# default for tensors of other plugins is 10 with the Python server.
SAMPLES = 200
MAX_CACHED_BYTES = 256 * 1024 * 1024


@dataclasses.dataclass(frozen=True)
class Series:
    """A tensor over steps.

    Attributes:
        steps: Steps in increasing order, `(num_steps,)`, int64.
        wall_times: When each was written, in seconds since 1970, `(num_steps,)`.
        values: A tensor for each step.
        whole: Whether all that was read is what its kind should be.
    """

    steps: np.ndarray
    wall_times: np.ndarray
    values: list[np.ndarray]
    whole: bool = True

    def at(self, step: int) -> np.ndarray | None:
        """The tensor of the last step that is not after `step`, if any."""
        index = int(np.searchsorted(self.steps, step, side="right")) - 1
        return None if index < 0 else self.values[index]

    @property
    def earlier(self) -> np.ndarray:
        """The tensor at two thirds of the steps, to tell what has changed of late."""
        return self.values[(2 * (len(self.steps) - 1)) // 3]


@dataclasses.dataclass
class Statistic:
    """A statistic that a run has written.

    Attributes:
        content: What its summaries say of it.
        kinds: TensorBoard's time series for each kind.
    """

    content: metadata.Content
    kinds: dict[str, provider.TensorTimeSeries] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Run:
    """What a run has written.

    Attributes:
        statistics: Statistics by name.
        problems: What could not be read, in words.
    """

    statistics: dict[str, Statistic] = dataclasses.field(default_factory=dict)
    problems: list[str] = dataclasses.field(default_factory=list)


class Reader:
    """Reads summaries, and keeps what it has read until there is something newer.

    Args:
        data_provider: TensorBoard's data provider.
    """

    def __init__(self, data_provider: provider.DataProvider):
        self._provider = data_provider
        self._cache: collections.OrderedDict[tuple, tuple[Any, Series]] = collections.OrderedDict()
        self._cached_bytes = 0
        # TensorBoard answers each request in a thread of its own.
        self._lock = threading.Lock()

    def runs(self, ctx: Any, experiment: str, run: str | None = None) -> dict[str, Run]:
        """All runs that have gradient balance summaries, or the one with this name.

        Args:
            ctx: TensorBoard's request context.
            experiment: TensorBoard's experiment id.
            run: Name of the run, or None for all.
        """
        listed = self._provider.list_tensors(
            ctx,
            experiment_id=experiment,
            plugin_name=metadata.PLUGIN_NAME,
            run_tag_filter=None if run is None else provider.RunTagFilter(runs=[run]),
        )
        return {name: _run(tags) for name, tags in sorted(listed.items())}

    def series(
        self,
        ctx: Any,
        experiment: str,
        run: str,
        statistic: Statistic,
        kinds: Sequence[str],
        newest_alone: bool = False,
    ) -> dict[str, Series]:
        """Some kinds over steps; those that the statistic does not have are left out.

        All are read at once: a question to the Rust server takes 40 ms, however small.

        Args:
            ctx: TensorBoard's request context.
            experiment: TensorBoard's experiment id.
            run: Name of the run.
            statistic: The statistic.
            kinds: Of `metadata.KINDS`.
            newest_alone: Whether the newest step of each is enough, where not all are read yet.
        """
        found: dict[str, Series] = {}
        # Key and newest step of what is to be read.
        missing: dict[str, tuple[tuple, tuple]] = {}
        with self._lock:
            for kind in kinds:
                listed = statistic.kinds.get(kind)
                if listed is None:
                    continue
                tag = metadata.tag(statistic.content.statistic, kind)
                newest = (listed.max_step, listed.max_wall_time)
                keys = [(experiment, run, tag, False), (experiment, run, tag, True)]
                for key in keys[: 2 if newest_alone else 1]:
                    if key in self._cache and self._cache[key][0] == newest:
                        self._cache.move_to_end(key)
                        found[kind] = self._cache[key][1]
                        break
                else:
                    missing[kind] = keys[newest_alone], newest
        if missing:
            tags = {metadata.tag(statistic.content.statistic, kind): kind for kind in missing}
            for tag, data in self._read(ctx, experiment, run, list(tags), newest_alone).items():
                kind = tags[tag]
                series = _series(statistic.content, kind, data)
                if series is not None:
                    self._keep(*missing[kind], series)
                    found[kind] = series
        return found

    def _read(
        self, ctx: Any, experiment: str, run: str, tags: list[str], newest_alone: bool
    ) -> dict[str, Sequence[provider.TensorDatum]]:
        """What TensorBoard has of some tags, without those that it cannot read itself."""

        def ask(tags: list[str]) -> dict[str, Sequence[provider.TensorDatum]]:
            read = self._provider.read_tensors(
                ctx,
                experiment_id=experiment,
                plugin_name=metadata.PLUGIN_NAME,
                # All that TensorBoard has in memory; or one, which then is the newest.
                downsample=1 if newest_alone else 1_000_000,
                run_tag_filter=provider.RunTagFilter(runs=[run], tags=tags),
            )
            return dict(read.get(run, {}))

        unreadable = (ValueError, TypeError)
        try:
            return ask(tags)
        except unreadable:
            # One malformed tensor fails all that were asked for: ask for each by itself.
            found: dict[str, Sequence[provider.TensorDatum]] = {}
            for tag in tags:
                with contextlib.suppress(*unreadable):
                    found |= ask([tag])
            return found

    def _keep(self, key: tuple, newest: Any, series: Series) -> None:
        def size(kept: Series) -> int:
            return sum(value.nbytes for value in kept.values)

        with self._lock:
            if key in self._cache:
                self._cached_bytes -= size(self._cache.pop(key)[1])
            self._cache[key] = (newest, series)
            self._cached_bytes += size(series)
            while self._cached_bytes > MAX_CACHED_BYTES and len(self._cache) > 1:
                self._cached_bytes -= size(self._cache.popitem(last=False)[1][1])


def _series(
    content: metadata.Content, kind: str, data: Sequence[provider.TensorDatum]
) -> Series | None:
    """A series of what was read; None where nothing of it is what it should be."""
    # Whoever writes to a log may write anything under our name. And a training that began anew in
    # the same directory goes back in steps: what was written last counts.
    fitting = [datum for datum in data if metadata.fits(content, kind, datum.numpy)]
    by_step = {datum.step: datum for datum in fitting}
    if not by_step:
        return None
    steps = sorted(by_step)
    mended = [metadata.mended(content, kind, by_step[step].numpy) for step in steps]
    return Series(
        steps=np.array(steps, np.int64),
        wall_times=np.array([by_step[step].wall_time for step in steps]),
        values=[value for value, _ in mended],
        whole=len(fitting) == len(data) and all(whole for _, whole in mended),
    )


def _run(tags: Mapping[str, provider.TensorTimeSeries]) -> Run:
    run = Run()
    for tag, listed in sorted(tags.items()):
        try:
            content = metadata.Content.from_bytes(listed.plugin_content)
        except ValueError as error:
            # The same for each of its tags: once is enough.
            if str(error) not in run.problems:
                run.problems.append(str(error))
            continue
        if tag == metadata.tag(content.statistic, content.kind):
            statistic = run.statistics.setdefault(content.statistic, Statistic(content))
            statistic.kinds[content.kind] = listed
    for name, statistic in list(run.statistics.items()):
        if "density" not in statistic.kinds:
            run.problems.append(
                f"Statistic {name[:100]!r} has no summary of kind 'density' yet. A moment later it "
                "may be there; if not, the log is cut off."
            )
            del run.statistics[name]
            continue
        version = statistic.content.version
        missing = [
            kind
            for kind in metadata.ALWAYS
            if kind not in statistic.kinds and (version > 1 or kind not in metadata.SINCE_VERSION_2)
        ]
        if missing:
            run.problems.append(
                f"Statistic {name[:100]!r} has no summaries of {', '.join(missing)}: what they "
                "would tell is not shown. The log is cut off or damaged."
            )
    return run
