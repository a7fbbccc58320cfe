"""How the plugin answers: JSON, files to save, errors in words, and the page's own files.

An answer carries an ETag, so that what is unchanged is not sent again, and has at most 2 MiB.
"""

import csv
import functools
import gzip
import hashlib
import importlib.resources
import importlib.util
import io
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import werkzeug
from tensorboard import errors
from tensorboard.backend import http_util
from werkzeug import wrappers

MAX_ANSWER_BYTES = 2 * 1024 * 1024
_CONTENT_TYPES = {".js": "text/javascript", ".css": "text/css"}
_DAY = 86_400


class File:
    """A file to be saved by the browser.

    Args:
        text: What is in it.
        name: Its name, which ends with csv or json.
        num_pages: Number of files that hold the whole table.
    """

    def __init__(self, text: str, name: str, num_pages: int):
        self.text = text
        self.headers = [
            ("Content-Disposition", f'attachment; filename="{name}"'),
            ("X-Num-Pages", str(num_pages)),
        ]
        self.content_type = "text/csv" if name.endswith("csv") else "application/json"


def answering(answer: Callable[[wrappers.Request], Any]) -> Callable:
    """A WSGI application that answers with what a function returns, or says what is wrong.

    Args:
        answer: Makes a JSON object or a `File` of a request.
    """

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
        file = given if isinstance(given, File) else None
        text = as_json(given) if file is None else file.text
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
    body = as_json({"error": message})
    return http_util.Respond(request, body, "application/json", code=code, headers=list(headers))


def _message(error: errors.PublicError) -> str:
    # TensorBoard puts the name of the status before the text.
    return str(error).split(": ", 1)[-1]


def as_json(answer: Mapping[str, Any]) -> str:
    """An answer as JSON.

    Args:
        answer: A JSON object; its numbers are finite.
    """
    # A lone surrogate, as damaged names may hold, has no UTF-8.
    text = json.dumps(answer, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", errors="replace").decode()


def as_csv(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A table as CSV, in which no cell is a spreadsheet's formula.

    Args:
        header: Names of the columns.
        rows: Cells of each row.
    """
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(header)
    writer.writerows([[_cell(cell) for cell in row] for row in rows])
    return file.getvalue()


def _cell(cell: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@") else cell


def static_apps() -> dict[str, Callable]:
    """A WSGI application for each file of the front end, by its path."""
    folder = importlib.resources.files("gb_keras.tensorboard") / "static"
    apps: dict[str, Callable] = {"/static/plotly.min.js": _serve_plotly}
    for entry in folder.iterdir():
        kind = _CONTENT_TYPES.get(Path(entry.name).suffix)
        if kind is not None:
            apps[f"/static/{entry.name}"] = functools.partial(
                _serve_static, content=entry.read_bytes(), kind=kind
            )
    return apps


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
    # Level 4 takes less than half of the time of level 9, and 4% more bytes.
    return gzip.compress((folder / "package_data" / "plotly.min.js").read_bytes(), 4, mtime=0)


def _serve_static(environ: Any, start_response: Any, content: bytes, kind: str) -> Any:
    request = wrappers.Request(environ)
    return _respond(request, content, kind)(environ, start_response)
