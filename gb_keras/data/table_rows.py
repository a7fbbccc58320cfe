"""The rows of tables that list images and their labels: CSV, Parquet and JSON lines."""

import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gb_keras.data.label_set import LabelSet
from gb_keras.data.locations import Location, read_bytes
from gb_keras.data.source import SPLITS

# What people call the columns, where no option says.
_PATH_NAMES = ("path", "file_name", "filename", "image")
_LABEL_NAMES = ("label", "class")
# What a cell of a label's own column says; what is empty or -1 is unknown.
_PRESENT = {"1", "true", "yes"}
_ABSENT = {"0", "false", "no"}
_UNKNOWN = {"", "-1"}


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        place: Where it stands, for people.
        path: The image's file, as the table has it; empty if it has none.
        root: Folder that a relative `path` starts from, absolute or a URL.
        label: Name of the class, empty if the table has none; or the label set of a table with a
            column for each label, empty if the row knows none of them.
        split: One of `SPLITS`.
        group: Name of what must not be in two splits, or None.
    """

    place: str
    path: str
    root: str
    label: str | LabelSet
    split: str
    group: str | None


def read_rows(
    path: Location, root: str, options: dict[str, str], split: str = "train"
) -> tuple[list[Row], tuple[str, ...]]:
    """The rows of a table, and the names of its labels where each has a column.

    Args:
        path: The table.
        root: Folder that relative paths of images start from, absolute or a URL.
        options: Columns by `path`, `label`, `labels` (several, or `*` for all that have no other
            use), `split` and `group`; empty for these two: there is none, whatever is called so.
        split: That of all rows, where no column says.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It cannot be read, has not these columns, or something else in a cell than can
            be there.
    """
    table = _read(path)
    columns = {"path": _column(table, path, "path", options, _PATH_NAMES)}
    # A column of these names may be what labels are in.
    taken = {options.get("label"), *options.get("labels", "").split(",")}
    for name in ("split", "group"):
        if options.get(name, name in table.columns and name not in taken):
            columns[name] = _column(table, path, name, options, (name,))
    names: tuple[str, ...] = ()
    if {"label", "labels"} <= options.keys():
        raise ValueError("Expected either label=COLUMN or labels=COLUMN,COLUMN,... Received: both.")
    if "labels" in options:
        names = _label_columns(table, path, options["labels"], columns.values())
    else:
        columns["label"] = _column(table, path, "label", options, _LABEL_NAMES)
    values = {name: [_text(each) for each in table[column]] for name, column in columns.items()}
    splits = [_SPLIT_OF.get(each.lower(), each.lower()) for each in values.get("split", [])]
    if strange := sorted(set(splits) - set(SPLITS)):
        raise ValueError(
            f"Expected the column {columns['split']!r} to hold {', '.join(SPLITS)}. Received: "
            f"{strange} in {str(path)!r}. Say split=COLUMN for another one, or split= for none."
        )
    labels = _label_sets(table, path, names) if names else values["label"]
    rows = [
        Row(
            place=f"row {index + 1} of {path.name}",
            path=values["path"][index],
            root=root,
            label=labels[index],
            split=splits[index] if splits else split,
            group=values["group"][index] or None if "group" in values else None,
        )
        for index in range(len(table))
    ]
    return rows, names


def _label_columns(
    table: pd.DataFrame, path: Location, given: str, used: Collection[str]
) -> tuple[str, ...]:
    """The columns that are labels, in the order of their indices."""
    if given == "*":
        names = tuple(name for name in map(str, table.columns) if name not in used)
    else:
        names = tuple(name.strip() for name in given.split(","))
    missing = [name for name in names if name not in table.columns]
    if missing or len(set(names)) < max(2, len(names)):
        raise ValueError(
            "Expected labels=COLUMN,COLUMN,... with at least two columns, each once, or labels=*. "
            f"Received: labels={given!r} for {str(path)!r}, which has the columns "
            f"{list(table.columns)}."
        )
    return names


def _label_sets(table: pd.DataFrame, path: Location, names: Sequence[str]) -> list[LabelSet]:
    """The label set of each row; complete ones where nothing is unknown in the whole table."""
    cells = np.empty((len(table), len(names)), dtype=np.int8)
    for column, name in enumerate(names):
        codes, found = pd.factorize(table[name].map(_text))
        states = [_state(text, path, name) for text in found]
        cells[:, column] = np.array(states, dtype=np.int8)[codes]
    complete = (cells >= 0).all()
    return [
        LabelSet(
            present=tuple(np.flatnonzero(row == 1).tolist()),
            absent=None if complete else tuple(np.flatnonzero(row == 0).tolist()),
        )
        for row in cells
    ]


def _state(text: str, path: Location, name: str) -> int:
    """1 present, 0 absent, -1 unknown."""
    for state, words in ((1, _PRESENT), (0, _ABSENT), (-1, _UNKNOWN)):
        if text.lower().removesuffix(".0") in words:
            return state
    raise ValueError(
        f"Expected 1 (present), 0 (absent), or nothing or -1 (unknown) in the column {name!r} of "
        f"{str(path)!r}. Received: {text!r}."
    )


_SPLIT_OF = {"val": "validation", "valid": "validation", "training": "train", "testing": "test"}


def _read(path: Location) -> pd.DataFrame:
    if not path.is_file():
        raise FileNotFoundError(
            f"Expected a table. Received: {str(path)!r}, which is "
            f"{'no file' if path.exists() else 'not there'}."
        )
    try:
        file = io.BytesIO(read_bytes(path))
        if path.suffix.lower() == ".parquet":
            return pd.read_parquet(file)
        if path.suffix.lower() == ".jsonl":
            return pd.read_json(file, lines=True, dtype=False)
        return pd.read_csv(
            file,
            sep="\t" if path.suffix.lower() == ".tsv" else ",",
            dtype=str,
            # A class may be called "NA" or "null".
            keep_default_na=False,
            encoding="utf-8-sig",
        )
    except (ValueError, OSError) as error:
        raise ValueError(
            "Expected a CSV file in UTF-8, a Parquet file (.parquet) or JSON lines (.jsonl). "
            f"Received: {str(path)!r}, which cannot be read: {error}"
        ) from error


def _column(
    table: pd.DataFrame, path: Location, name: str, options: dict[str, str], usual: Sequence[str]
) -> str:
    """The column of a table that holds what `name` says."""
    candidates = [options[name]] if name in options else usual
    found = next((each for each in candidates if each in table.columns), None)
    if found is None:
        if len(table.columns) == 1 and ";" in table.columns[0]:
            raise ValueError(
                f"Expected a table with commas between its columns. Received {str(path)!r}, which "
                "has semicolons. Write it with commas, or as .tsv or Parquet."
            )
        raise ValueError(
            f"Expected a column {' or '.join(map(repr, candidates))} with the {name} of each image "
            f"in {str(path)!r}. Received the columns {list(table.columns)}. Say which it is: "
            f"...?{name}=COLUMN."
        )
    return found


def _text(value: object) -> str:
    """A cell as text, empty if nothing is in it."""
    if value is None or value != value:
        return ""
    # A column of whole numbers with holes in it comes as decimal numbers.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()
