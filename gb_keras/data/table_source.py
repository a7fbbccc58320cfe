"""Tables that list images and their labels: CSV, Parquet, and Hugging Face's image folders."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from gb_keras.data import source_options
from gb_keras.data.folder_source import FOLDERS_OF_SPLIT, FolderSource, load_file, refuse
from gb_keras.data.source import SPLITS, Example, Source

# Options of each kind of table, in the order of a full name.
OPTIONS = {
    "csv": ("path", "label", "split", "group", "root"),
    "parquet": ("path", "label", "split", "group", "root"),
    "huggingface-dir": ("label",),
}
# What people call the columns, where no option says.
_PATH_NAMES = ("path", "file_name", "filename", "image")
_LABEL_NAMES = ("label", "class")
_METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        place: Where it stands, for people.
        path: The image's file, as the table has it; empty if it has none.
        root: Folder that a relative `path` starts from.
        label: Name of the class; empty if the table has none.
        split: One of `SPLITS`.
        group: Name of what must not be in two splits, or None.
    """

    place: str
    path: str
    root: Path
    label: str
    split: str
    group: str | None


class TableSource:
    """Images that a table lists, with a label each.

    Classes are the labels of the training rows, sorted; labels that are all whole numbers are
    sorted as numbers. A row without path or label, and a file that another row has listed before,
    are reported when they are loaded, as are files that are missing or broken.

    Args:
        name: The name that opens it again.
        rows: The rows of all splits.

    Raises:
        ValueError: Fewer than two classes in training, or others elsewhere.
    """

    def __init__(self, name: str, rows: Sequence[Row]) -> None:
        self.name = name
        self._rows = rows
        self.splits = tuple(split for split in SPLITS if any(row.split == split for row in rows))
        self.classes = _sorted_classes({row.label for row in rows if row.split == "train"} - {""})
        if len(self.classes) < 2:
            raise ValueError(
                "Expected rows of at least 2 classes to train with. Received: "
                f"{list(self.classes)} in {name!r}."
            )
        strange = {row.label for row in rows} - {"", *self.classes}
        if strange:
            raise ValueError(
                "Expected the labels of all splits to be among those of 'train'. Received also: "
                f"{sorted(strange)} in {name!r}."
            )

    def examples(self, split: str) -> Iterator[Example]:
        """Every row of a split, in the order of the table."""
        labels = {name: label for label, name in enumerate(self.classes)}
        first: dict[Path, Row] = {}
        for row in self._rows:
            file = row.root / row.path
            before = first.setdefault(file, row) if row.path else row
            if row.split != split:
                continue
            name = row.path if row is before and row.path else f"{row.path} ({row.place})".strip()
            if reason := _problem(row, before):
                load = functools.partial(refuse, f"{row.place}: {reason}")
                yield Example(name, -1, load)
            else:
                load = functools.partial(load_file, file)
                yield Example(name, labels[row.label], load, row.group)


def full_name(kind: str, argument: str) -> str:
    """The name of a table with its paths absolute and its options in order.

    Example:
        >>> full_name("csv", "/data/../table.csv?root=/pictures/&label=species")
        'csv:/table.csv?label=species&root=/pictures'
    """
    path, options = _parse(kind, argument)
    ordered = {name: options.get(name, "") for name in OPTIONS[kind]}
    return f"{kind}:{source_options.join(path, ordered, safe='/')}"


def _parse(kind: str, argument: str) -> tuple[Path, dict[str, str]]:
    """Path and options of a table, both paths absolute."""
    path, options = source_options.parse(argument, OPTIONS[kind])
    if "root" in options:
        options["root"] = str(Path(options["root"]).expanduser().resolve())
    return path, options


def open_table(kind: str, argument: str) -> Source:
    r"""Open a CSV or Parquet file.

    Args:
        kind: `"csv"` or `"parquet"`.
        argument: Its path, and behind a `?` the names of its columns: `path` (of the image; else
            `path`, `file_name`, `filename` or `image`), `label` (else `label` or `class`), `split`
            (train, validation or test; else none: all rows are of one split), `group` (rows of one
            group stay in one split); and `root`, the folder that paths start from (else the
            table's own).

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It cannot be read, has not these columns, or splits of other names.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "birds.csv"
        >>> _ = file.write_text("file_name,species\n1.jpg,wren\n2.jpg,robin\n")
        >>> open_table("csv", f"{file}?label=species").classes
        ('robin', 'wren')
    """
    path, options = _parse(kind, argument)
    root = Path(options.get("root", path.parent))
    return TableSource(full_name(kind, argument), _rows(path, root, options))


def open_huggingface(argument: str) -> Source:
    """Open a folder in the imagefolder layout of Hugging Face's `datasets`.

    That is class folders, as for `folder:PATH`, or a file `metadata.csv`, `metadata.jsonl` or
    `metadata.parquet` beside the images, in the folder or in each split's, with their paths in the
    column `file_name`.

    Args:
        argument: The folder, and behind a `?` the name of the column with the `label` (else `label`
            or `class`).

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: Neither layout, a table that cannot be read, or no such column.
    """
    path, options = _parse("huggingface-dir", argument)
    if not path.is_dir():
        raise FileNotFoundError(f"Expected a folder. Received: {str(path)!r}, which is none.")
    name = full_name("huggingface-dir", argument)
    folders = {
        split: path / folder
        for split, names in FOLDERS_OF_SPLIT.items()
        for folder in names
        if (path / folder).is_dir()
    }
    if _metadata(path):
        folders = {"train": path}
    tables = {split: _metadata(folder) for split, folder in folders.items()}
    if not any(tables.values()):
        source = FolderSource(path)
        source.name = name
        return source
    if missing := [split for split, table in tables.items() if table is None]:
        raise ValueError(
            f"Expected one of {', '.join(_METADATA)} in the folder of each split. Received: none "
            f"for {', '.join(missing)} in {str(path)!r}."
        )
    columns = {"path": "file_name", **options}
    rows = [
        row
        for split, table in tables.items()
        if table is not None
        for row in _rows(table, table.parent, columns, split)
    ]
    return TableSource(name, rows)


def _metadata(folder: Path) -> Path | None:
    return next((folder / name for name in _METADATA if (folder / name).is_file()), None)


def _rows(path: Path, root: Path, options: dict[str, str], split: str = "train") -> list[Row]:
    """The rows of a table; of `split`, where it has no column that says."""
    table = _read(path)
    columns = {
        "path": _column(table, path, "path", options, _PATH_NAMES),
        "label": _column(table, path, "label", options, _LABEL_NAMES),
    }
    for name in ("split", "group"):
        if name in options:
            columns[name] = _column(table, path, name, options, ())
    values = {name: [_text(each) for each in table[column]] for name, column in columns.items()}
    splits = [_SPLIT_OF.get(each.lower(), each.lower()) for each in values.get("split", [])]
    if strange := sorted(set(splits) - set(SPLITS)):
        raise ValueError(
            f"Expected the column {columns['split']!r} to hold {', '.join(SPLITS)}. Received: "
            f"{strange} in {str(path)!r}."
        )
    return [
        Row(
            place=f"row {index + 1} of {path.name}",
            path=values["path"][index],
            root=root,
            label=values["label"][index],
            split=splits[index] if splits else split,
            group=values["group"][index] or None if "group" in values else None,
        )
        for index in range(len(table))
    ]


_SPLIT_OF = {"val": "validation", "valid": "validation", "training": "train", "testing": "test"}


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise FileNotFoundError(
            f"Expected a table. Received: {str(path)!r}, which is "
            f"{'no file' if path.exists() else 'not there'}."
        )
    try:
        if path.suffix.lower() == ".parquet":
            return pd.read_parquet(path)
        if path.suffix.lower() == ".jsonl":
            return pd.read_json(path, lines=True, dtype=False)
        return pd.read_csv(
            path,
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
    table: pd.DataFrame, path: Path, name: str, options: dict[str, str], usual: Sequence[str]
) -> str:
    """The column of a table that holds what `name` says."""
    candidates = [options[name]] if name in options else usual
    found = next((each for each in candidates if each in table.columns), None)
    if found is None:
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


def _problem(row: Row, before: Row) -> str:
    """Why a row cannot be used, whatever is in its file."""
    if not row.path:
        return "no path"
    if not row.label:
        return "no label"
    if row is before:
        return ""
    same = "the same" if (row.label, row.split) == (before.label, before.split) else "another"
    return f"this file is listed in {before.place} already, with {same} label or split"


def _sorted_classes(names: set[str]) -> tuple[str, ...]:
    whole = all(name.lstrip("-").isdecimal() for name in names)
    return tuple(sorted(names, key=int if whole else str))  # type: ignore[arg-type]
