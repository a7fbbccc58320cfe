"""The Gradient Balance page of TensorBoard: its routes.

All routes answer GET. JSON answers carry an ETag, so that what is unchanged is not sent again, and
are at most 2 MiB; a wrong argument gives status 400 and an unknown run, statistic or class 404,
with `{"error": "what was expected, what was received, what to do"}`. Data is read through
TensorBoard's data provider; no path is taken from a request.
"""

import csv
import functools
import gzip
import hashlib
import importlib.resources
import importlib.util
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import werkzeug
from tensorboard import errors, plugin_util
from tensorboard.backend import http_util
from tensorboard.plugins import base_plugin
from werkzeug import wrappers

from gb_keras.tensorboard import metadata, views
from gb_keras.tensorboard.reader import SAMPLES, Reader, Series

MAX_ANSWER_BYTES = 2 * 1024 * 1024
# Rows of the table of classes in one download; names may be long.
DOWNLOAD_ROWS = 2_000
_CONTENT_TYPES = {".js": "text/javascript", ".css": "text/css"}
_DAY = 86_400


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
        routes = {path: _answering(answer) for path, answer in apps.items()}
        return (
            routes
            | {
                f"/static/{name}": functools.partial(_serve_static, content=content, kind=kind)
                for name, (content, kind) in _static_files().items()
            }
            | {"/static/plotly.min.js": _serve_plotly}
        )

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
        answer = views.runs(self._reader.runs(*_whose(request)))
        listed, size = [], 0
        for run in answer["runs"]:
            size += len(json.dumps(run)) + 2
            if size > MAX_ANSWER_BYTES - 1024:
                break
            listed.append(run)
        return {**answer, "runs": listed, "num_left_out": len(answer["runs"]) - len(listed)}

    def _series(self, request: wrappers.Request) -> dict[str, Any]:
        """`/series?run=&statistic=[&max_steps=200][&class=]`: everything over steps.

        `{"run", "statistic", "bins", "steps": [], "wall_times": [], "density": [[] per step],
        "weights": [[] per step], "loss": [], "base_loss": [], "skipped": []}`. With a class, its
        own density (None at steps where it was not written) and, instead of the losses, `"class",
        "name", "count": [], "mean_norm": [], "margin": [], "mean_weight": [], "recall": []`.
        `max_steps` is in 2 to 500; steps are spread evenly over those that are kept.
        """
        view = self._view(request)
        max_steps = _number(request, "max_steps", 200, least=2, most=views.MAX_POINTS)
        if "class" not in request.args:
            return view.over_steps(max_steps)
        return view.class_over_steps(self._class(request, view), max_steps)

    def _step(self, request: wrappers.Request) -> dict[str, Any]:
        """`/step?run=&statistic=[&step=]`: one step, the last one where none is given.

        `{"run", "statistic", "step", "wall_time", "num_classes", "bins", "density": [],
        "weights": [], "sentence", "rows": [{"class", "name", "density": []}], "quantiles":
        null | {"levels": [], "share": [[] per level]}}`. A step that was not logged means the
        last one before it.
        """
        return self._view(request).one_step(_optional_step(request))

    def _classes(self, request: wrappers.Request) -> dict[str, Any]:
        """`/classes?run=&statistic=[&step=][&sort=count][&order=desc][&page=1][&page_size=50]...`.

        `{"run", "statistic", "step", "num_classes", "matching", "page", "page_size", "num_pages",
        "columns": [], "rows": [{"class", "name", "group", "count", "mass", "mass_positive",
        "mass_negative", "positive_share", "mean_norm", "margin", "mean_weight", "recall"}]}`.
        `count` is the samples seen since the start. Further arguments: `search` (part of a name,
        or a class's number), `many` and `few` (samples per epoch, default 100 and 20).
        `page_size` is in 1 to 1,000; a page after the last is the last.
        """
        return self._view(request).table(
            _optional_step(request), **_table_arguments(request, most=1_000)
        )

    def _ranking(self, request: wrappers.Request) -> dict[str, Any]:
        """`/ranking?run=&statistic=&column=[&step=][&order_by=count]`: a column of all classes.

        `{"run", "statistic", "step", "column", "order_by", "points": [{"rank", "num_classes",
        "min", "mean", "max", "class", "name", "group"}]}`, at most 500 points; where there are
        more classes, neighbours share a point, which then has no class and name.
        """
        columns = tuple(views.COLUMNS)
        return self._view(request).ranking(
            _optional_step(request),
            _choice(request, "column", columns, "count"),
            _choice(request, "order_by", columns, "count"),
            many=_number(request, "many", 100),
            few=_number(request, "few", 20),
        )

    def _health(self, request: wrappers.Request) -> dict[str, Any]:
        """`/health?run=&statistic=`: what is to be looked after, the worst first.

        `{"run", "statistic", "step", "findings": [{"kind", "severity": "warning" | "info" | "ok",
        "title", "text", "advice", "classes": [{"class", "name", "value"}]}]}`.
        """
        return self._view(request).findings()

    def _download(self, request: wrappers.Request) -> "_File":
        """`/download?run=&statistic=&table=classes|series|step&format=csv|json[&step=][&page=]`.

        A file. The classes, with the arguments of `/classes`, come in pages of 2,000 rows; the
        header `X-Num-Pages` tells how many there are.
        """
        view = self._view(request)
        table = _choice(request, "table", ("classes", "series", "step"), "classes")
        as_csv = _choice(request, "format", ("csv", "json"), "csv") == "csv"
        num_pages = 1
        answer: dict[str, Any]
        rows: Iterable[Iterable[Any]]
        if table == "classes":
            arguments = _table_arguments(request, most=DOWNLOAD_ROWS, default=DOWNLOAD_ROWS)
            answer = view.table(_optional_step(request), **arguments)
            num_pages = answer["num_pages"]
            header = answer["columns"]
            rows = [[row[column] for column in header] for row in answer["rows"]]
        elif table == "series":
            answer = view.over_steps(views.MAX_POINTS)
            bins = range(answer["bins"])
            header = ["step", "wall_time", "loss", "base_loss", "skipped"]
            header += [f"density_{i}" for i in bins] + [f"weight_{i}" for i in bins]
            names = ("steps", "wall_times", "loss", "base_loss", "skipped", "density", "weights")
            rows = [
                [*scalars, *density, *(weights or [None] * answer["bins"])]
                for *scalars, density, weights in zip(*(answer[n] for n in names), strict=True)
            ]
        else:
            answer = view.one_step(_optional_step(request))
            header = ["class", "name", *(f"density_{i}" for i in range(answer["bins"]))]
            rows = [["", "all classes", *answer["density"]], ["", "weight", *answer["weights"]]]
            rows += [[row["class"], row["name"], *row["density"]] for row in answer["rows"]]
        text = _csv(header, rows) if as_csv else _json(answer)
        return _File(text, f"gradient_balance_{table}.{'csv' if as_csv else 'json'}", num_pages)

    def _view(self, request: wrappers.Request) -> views.StatisticView:
        run, name = _text(request, "run"), _text(request, "statistic")
        ctx, experiment = _whose(request)
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
        index = _number(request, "class", 0)
        if index >= view.num_classes:
            raise errors.NotFoundError(
                f"Expected a class in [0, {view.num_classes}). Received: class={index}."
            )
        return index


class _File:
    """A file to be saved by the browser."""

    def __init__(self, text: str, name: str, num_pages: int):
        self.text = text
        self.headers = [
            ("Content-Disposition", f'attachment; filename="{name}"'),
            ("X-Num-Pages", str(num_pages)),
        ]
        self.content_type = "text/csv" if name.endswith("csv") else "application/json"


def _answering(answer: Callable[[wrappers.Request], Any]) -> Callable:
    """A WSGI application that answers with what a function returns, or says what is wrong."""

    @wrappers.Request.application
    def app(request: wrappers.Request) -> Callable:
        if request.method not in ("GET", "HEAD"):
            allowed = [("Allow", "GET, HEAD")]
            return _error(request, 405, f"Expected GET. Received {request.method}.", allowed)
        try:
            given = answer(request)
        except errors.InvalidArgumentError as error:
            return _error(request, 400, _message(error))
        except errors.NotFoundError as error:
            return _error(request, 404, _message(error))
        file = given if isinstance(given, _File) else None
        text = _json(given) if file is None else file.text
        body = text.encode()
        if len(body) > MAX_ANSWER_BYTES:
            return _error(
                request,
                400,
                f"Expected a question with an answer of at most {MAX_ANSWER_BYTES} bytes. This one "
                f"has {len(body)}. Ask for a smaller page or fewer steps.",
            )
        headers = [] if file is None else file.headers
        kind = "application/json" if file is None else file.content_type
        return _respond(request, body, kind, headers)

    return app


def _respond(
    request: wrappers.Request,
    body: bytes,
    content_type: str,
    headers: Iterable[tuple[str, str]] = (),
) -> Callable:
    """An answer, or a note that the browser has it already, as a WSGI application."""
    etag = hashlib.sha256(body).hexdigest()[:32]
    tagged = [*headers, ("ETag", f'"{etag}"')]
    # A proxy that compresses makes a tag weak.
    if request.if_none_match.contains_weak(etag):
        return functools.partial(_not_modified, headers=tagged, content_type=content_type)
    return http_util.Respond(request, body, content_type, headers=tagged)


def _not_modified(
    environ: Any, start_response: Any, headers: list[tuple[str, str]], content_type: str
) -> list[bytes]:
    # By hand: TensorBoard asks for a content type, which werkzeug takes off such an answer.
    safe = [("Content-Type", content_type), ("X-Content-Type-Options", "nosniff")]
    start_response("304 NOT MODIFIED", [*headers, *safe])
    return []


def _error(
    request: wrappers.Request,
    code: int,
    message: str,
    headers: Iterable[tuple[str, str]] = (),
) -> werkzeug.Response:
    body = _json({"error": message})
    return http_util.Respond(request, body, "application/json", code=code, headers=list(headers))


def _message(error: errors.PublicError) -> str:
    # TensorBoard puts the name of the status before the text.
    return str(error).split(": ", 1)[-1]


def _json(answer: Mapping[str, Any]) -> str:
    # A lone surrogate, as damaged names may hold, has no UTF-8.
    text = json.dumps(answer, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", errors="replace").decode()


def _csv(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(header)
    writer.writerows([[_cell(cell) for cell in row] for row in rows])
    return file.getvalue()


def _cell(cell: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@") else cell


def _whose(request: wrappers.Request) -> tuple[Any, str]:
    environ = request.environ
    return plugin_util.context(environ), plugin_util.experiment_id(environ)


def _text(request: wrappers.Request, name: str) -> str:
    value = request.args.get(name)
    if not value:
        raise errors.InvalidArgumentError(
            f"Expected an argument {name!r}. Received {sorted(request.args)}."
        )
    return value


def _number(
    request: wrappers.Request, name: str, default: int, least: int = 0, most: int = 2**53
) -> int:
    value = request.args.get(name)
    if value is None:
        return default
    # Digits alone: int() would also take "1_000", " 7 " and digits of other scripts.
    number = int(value) if value.isascii() and value.isdigit() and len(value) < 20 else -1
    if not least <= number <= most:
        raise errors.InvalidArgumentError(
            f"Expected {name!r} to be a whole number from {least} to {most}. Received: "
            f"{value[:100]!r}."
        )
    return number


def _optional_step(request: wrappers.Request) -> int | None:
    return _number(request, "step", 0) if "step" in request.args else None


def _choice(request: wrappers.Request, name: str, known: tuple[str, ...], default: str) -> str:
    value = request.args.get(name, default)
    if value not in known:
        raise errors.InvalidArgumentError(
            f"Expected {name!r} to be one of {', '.join(known)}. Received: {value[:100]!r}."
        )
    return value


def _table_arguments(request: wrappers.Request, most: int, default: int = 50) -> dict[str, Any]:
    sortable = ("class", "name", "group", *views.COLUMNS)
    return {
        "sort": _choice(request, "sort", sortable, "count"),
        "descending": _choice(request, "order", ("asc", "desc"), "desc") == "desc",
        "page": _number(request, "page", 1, least=1),
        "page_size": _number(request, "page_size", default, least=1, most=most),
        "search": request.args.get("search", ""),
        "many": _number(request, "many", 100),
        "few": _number(request, "few", 20),
    }


def _static_files() -> dict[str, tuple[bytes, str]]:
    """Content and type of each file of the front end, by name."""
    folder = importlib.resources.files("gb_keras.tensorboard") / "static"
    return {
        entry.name: (entry.read_bytes(), _CONTENT_TYPES[Path(entry.name).suffix])
        for entry in folder.iterdir()
        if Path(entry.name).suffix in _CONTENT_TYPES
    }


@wrappers.Request.application
def _serve_plotly(request: wrappers.Request) -> werkzeug.Response:
    # Compressed once: TensorBoard would compress its 4.8 MB anew for each browser.
    return http_util.Respond(
        request, _plotly(), "text/javascript", content_encoding="gzip", expires=_DAY
    )


@functools.cache
def _plotly() -> bytes:
    """The plotting library, compressed, from the Python package that ships it."""
    # Found, not imported: importing it takes longer than all of this plugin.
    spec = importlib.util.find_spec("plotly")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("Expected the package plotly. Install it: pip install plotly")
    folder = Path(spec.submodule_search_locations[0])
    return gzip.compress((folder / "package_data" / "plotly.min.js").read_bytes(), mtime=0)


def _serve_static(environ: Any, start_response: Any, content: bytes, kind: str) -> Any:
    request = wrappers.Request(environ)
    return _respond(request, content, kind)(environ, start_response)
