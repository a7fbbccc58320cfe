"""The Gradient Balance page of TensorBoard: its routes.

All routes answer GET. JSON answers carry an ETag, so that what is unchanged is not sent again, and
are at most 2 MiB; a wrong argument gives status 400 and an unknown run, statistic or class 404,
with `{"error": "what was expected, what was received, what to do"}`. Data is read through
TensorBoard's data provider; no path is taken from a request.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tensorboard import errors
from tensorboard.plugins import base_plugin
from werkzeug import wrappers

from gb_keras.tensorboard import answers, arguments, metadata, views
from gb_keras.tensorboard.class_table import COLUMNS, ClassTable
from gb_keras.tensorboard.reader import SAMPLES, Reader, Series

# Rows of the table of classes in one download; names may be long.
DOWNLOAD_ROWS = 2_000


class GradientBalanceLoader(base_plugin.TBLoader):
    """What TensorBoard loads: sees to it that enough steps are kept, then makes the plugin."""

    def fix_flags(self, flags: Any) -> None:
        """Keep 200 steps of each series, if the user has not asked for another number."""
        flags.samples_per_plugin.setdefault(metadata.PLUGIN_NAME, SAMPLES)

    def load(self, context: base_plugin.TBContext) -> base_plugin.TBPlugin:
        """Make the plugin."""
        return GradientBalancePlugin(context)


class GradientBalancePlugin(base_plugin.TBPlugin):
    """Serves the page and its data.

    Args:
        context: What TensorBoard gives its plugins.
    """

    plugin_name = metadata.PLUGIN_NAME

    def __init__(self, context: base_plugin.TBContext):
        self._reader = Reader(context.data_provider)

    def get_plugin_apps(self) -> dict[str, Callable]:
        """Routes by path, below `data/plugin/gradient_balance`."""
        apps = {
            "/runs": self._runs,
            "/series": self._series,
            "/step": self._step,
            "/classes": self._classes,
            "/ranking": self._ranking,
            "/health": self._health,
            "/download": self._download,
        }
        routes = {path: answers.answering(answer) for path, answer in apps.items()}
        return routes | answers.static_apps()

    def is_active(self) -> bool:
        """TensorBoard finds by itself whether there is data."""
        return False

    def frontend_metadata(self) -> base_plugin.FrontendMetadata:
        """The tab."""
        return base_plugin.FrontendMetadata(
            es_module_path="/static/index.js", tab_name="Gradient Balance"
        )

    def _runs(self, request: wrappers.Request) -> dict[str, Any]:
        """`/runs`: all runs.

        `{"version", "runs": [{"run", "problems": [text], "statistics": [{"name", "num_classes",
        "bins", "balanced", "multi_label", "max_weight", "density_exponent", "prior_strength",
        "last_step", "last_wall_time"}]}], "num_left_out"}`. Runs beyond 2 MiB are left out and
        counted.
        """
        answer = views.runs(self._reader.runs(*arguments.whose(request)))
        listed, size = [], 0
        for run in answer["runs"]:
            size += len(json.dumps(run)) + 2
            if size > answers.MAX_ANSWER_BYTES - 1024:
                break
            listed.append(run)
        return {**answer, "runs": listed, "num_left_out": len(answer["runs"]) - len(listed)}

    def _series(self, request: wrappers.Request) -> dict[str, Any]:
        """`/series?run=&statistic=[&max_steps=200][&class=]`: everything over steps.

        `{"run", "statistic", "bins", "steps": [], "wall_times": [], "density": [[] per step],
        "weights": [[] per step], "loss": [], "base_loss": [], "noise_rate": [], "skipped": []}`;
        null stands for what was not written at a step. With a class, its own density, `"balanced":
        [[] per step]`, which counts each sample with its weight, and, instead of the rest,
        `"class", "name", "count": [], "mean_norm": [], "margin": [], "mean_weight": [], "recall":
        []`.
        `max_steps` is in 2 to 500; steps are spread evenly over those that are kept.
        """
        view = self._view(request)
        max_steps = arguments.number(request, "max_steps", 200, least=2, most=views.MAX_POINTS)
        if "class" not in request.args:
            return view.over_steps(max_steps)
        return view.class_over_steps(self._class(request, view), max_steps)

    def _step(self, request: wrappers.Request) -> dict[str, Any]:
        """`/step?run=&statistic=[&step=]`: one step, the last one where none is given.

        `{"run", "statistic", "step", "wall_time", "num_classes", "bins", "density": [],
        "weights": null | [], "sentence", "rows": [{"class", "name", "density": [], "balanced":
        null | []}], "quantiles": null | {"levels": [], "share": [[] per level]}}`. A step that was
        not logged means the last one before it.
        """
        return self._view(request).one_step(arguments.optional_step(request))

    def _classes(self, request: wrappers.Request) -> dict[str, Any]:
        """`/classes?run=&statistic=[&step=][&sort=count][&order=desc][&page=1][&page_size=50]...`.

        `{"run", "statistic", "step", "num_classes", "matching", "page", "page_size", "num_pages",
        "columns": [], "rows": [{"class", "name", "group", "count", "mass", "mass_positive",
        "mass_negative", "positive_share", "mean_norm", "margin", "mean_weight", "recall"}]}`.
        `count` is the samples seen since the start. Further arguments: `search` (part of a name,
        or a class's number), `many` and `few` (samples per epoch, default 100 and 20).
        `page_size` is in 1 to 1,000; a page after the last is the last.
        """
        table = ClassTable(self._view(request), arguments.optional_step(request))
        return table.page(**arguments.table(request, most=1_000))

    def _ranking(self, request: wrappers.Request) -> dict[str, Any]:
        """`/ranking?run=&statistic=&column=[&step=][&order_by=count]`: a column of all classes.

        `{"run", "statistic", "step", "column", "order_by", "points": [{"rank", "num_classes",
        "min", "mean", "max", "class", "name", "group"}]}`, at most 500 points; where there are
        more classes, neighbours share a point, which then has no class and name.
        """
        table = ClassTable(self._view(request), arguments.optional_step(request))
        return table.ranking(
            arguments.choice(request, "column", COLUMNS, "count"),
            arguments.choice(request, "order_by", COLUMNS, "count"),
            **arguments.limits(request),
        )

    def _health(self, request: wrappers.Request) -> dict[str, Any]:
        """`/health?run=&statistic=`: what is to be looked after, the worst first.

        `{"run", "statistic", "step", "findings": [{"kind", "severity": "warning" | "info" | "ok",
        "title", "text", "advice", "classes": [{"class", "name", "value"}], "number_of_class",
        "num_left_out"}]}`.
        """
        return self._view(request).findings()

    def _download(self, request: wrappers.Request) -> answers.File:
        """`/download?run=&statistic=&table=classes|series|step&format=csv|json[&step=][&page=]`.

        A file. The classes, with the arguments of `/classes`, come in pages of 2,000 rows; the
        header `X-Num-Pages` tells how many there are.
        """
        view = self._view(request)
        table = arguments.choice(request, "table", ("classes", "series", "step"), "classes")
        as_csv = arguments.choice(request, "format", ("csv", "json"), "csv") == "csv"
        num_pages = 1
        answer: dict[str, Any]
        rows: Iterable[Iterable[Any]]
        if table == "classes":
            wanted = arguments.table(request, most=DOWNLOAD_ROWS, default=DOWNLOAD_ROWS)
            answer = ClassTable(view, arguments.optional_step(request)).page(**wanted)
            num_pages = answer["num_pages"]
            header = answer["columns"]
            rows = [[row[column] for column in header] for row in answer["rows"]]
        elif table == "series":
            answer = view.over_steps(views.MAX_POINTS)
            bins = range(answer["bins"])
            curves = ["loss", "base_loss", "noise_rate", "skipped"]
            header = ["step", "wall_time", *curves]
            header += [f"density_{i}" for i in bins] + [f"weight_{i}" for i in bins]
            names = ("steps", "wall_times", *curves, "density", "weights")
            rows = [
                [*scalars, *density, *(weights or [None] * answer["bins"])]
                for *scalars, density, weights in zip(*(answer[n] for n in names), strict=True)
            ]
        else:
            answer = view.one_step(arguments.optional_step(request))
            header = ["class", "name", *(f"density_{i}" for i in range(answer["bins"]))]
            rows = [["", "all classes", *answer["density"]]]
            if answer["weights"] is not None:
                rows.append(["", "weight", *answer["weights"]])
            rows += [[row["class"], row["name"], *row["density"]] for row in answer["rows"]]
        text = answers.as_csv(header, rows) if as_csv else answers.as_json(answer)
        name = f"gradient_balance_{table}.{'csv' if as_csv else 'json'}"
        return answers.File(text, name, num_pages)

    def _view(self, request: wrappers.Request) -> views.StatisticView:
        run, name = arguments.text(request, "run"), arguments.text(request, "statistic")
        ctx, experiment = arguments.whose(request)
        found = self._reader.runs(ctx, experiment, run).get(run)
        if found is None:
            raise errors.NotFoundError(
                f"Expected a run with gradient balance summaries. Received: run={run[:100]!r}. "
                "Ask /runs for their names."
            )
        statistic = found.statistics.get(name)
        if statistic is None:
            raise errors.NotFoundError(
                f"Expected one of the statistics {[known[:100] for known in found.statistics]}. "
                f"Received: statistic={name[:100]!r}."
            )

        def read(kinds: Sequence[str], newest_alone: bool) -> dict[str, Series]:
            return self._reader.series(ctx, experiment, run, statistic, kinds, newest_alone)

        try:
            return views.StatisticView(run, statistic, read)
        except LookupError as error:
            raise errors.NotFoundError(str(error)) from error

    @staticmethod
    def _class(request: wrappers.Request, view: views.StatisticView) -> int:
        index = arguments.number(request, "class", 0)
        if index >= view.num_classes:
            raise errors.NotFoundError(
                f"Expected a class in [0, {view.num_classes}). Received: class={index}."
            )
        return index
