"""Tables that list images and their labels: CSV, Parquet, and Hugging Face's image folders."""

import functools
import os
from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np

from gb_keras.data import source_options
from gb_keras.data.folder_source import FOLDERS_OF_SPLIT, FolderSource, load_file, refuse
from gb_keras.data.label_set import LabelSet, presence_counts
from gb_keras.data.locations import Location, absolute, is_url, join
from gb_keras.data.source import SPLITS, Example, Source
from gb_keras.data.table_rows import Row, read_rows

# Options of each kind of table, in the order of a full name.
OPTIONS = {
    "csv": ("path", "label", "labels", "split", "group", "root"),
    "parquet": ("path", "label", "labels", "split", "group", "root"),
    "huggingface-dir": ("label",),
}
_METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")


class TableSource:
    """Images that a table lists, with a label each, or with a column for each label.

    Classes are the labels of the training rows, sorted; labels that are all whole numbers are
    sorted as numbers. Of labels with a column each they are those that a training row shows, in
    the order of the columns. A row without path or label, and a file that another row has listed
    before, are reported when they are loaded, as are files that are missing or broken.

    Args:
        name: The name that opens it again.
        rows: The rows of all splits.
        names: Names of the labels, where each has a column; else none.

    Attributes:
        multi_label: Whether each label has a column.
        left_out: Under `"train"`, how many columns no training row shows.

    Raises:
        ValueError: Fewer than two classes in training, or others elsewhere.
    """

    is_listed = True

    def __init__(self, name: str, rows: Sequence[Row], names: Sequence[str] = ()) -> None:
        self.name = name
        self._rows = rows
        self.splits = tuple(split for split in SPLITS if any(row.split == split for row in rows))
        self.multi_label = bool(names)
        self.left_out: dict[str, dict[str, int]] = {}
        self._labels: list[int | LabelSet | None]
        if names:
            self.classes, self._labels = _of_columns(rows, names)
            if num_left := len(names) - len(self.classes):
                self.left_out["train"] = {"labels that no training row shows": num_left}
        else:
            self.classes, self._labels = _of_names(name, rows)
        if len(self.classes) < 2:
            raise ValueError(
                "Expected rows of at least 2 classes to train with. Received: "
                f"{list(self.classes)} in {name!r}."
            )

    def examples(self, split: str) -> Iterator[Example]:
        """Every row of a split, in the order of the table."""
        first: dict[str, Row] = {}
        for row, label in zip(self._rows, self._labels, strict=True):
            file = join(row.root, row.path)
            # A row that says nothing of its file leaves it to another one that does.
            usable = row.path and label is not None
            before = first.setdefault(file, row) if usable else row
            if row.split != split:
                continue
            alone = row is before and usable
            name = row.path if alone else f"{row.path} ({row.place})".strip()
            reason = _problem(row, before, label)
            if label is None or reason:
                yield Example(name, -1, functools.partial(refuse, reason))
            else:
                load = functools.partial(load_file, file, _called(row.path))
                yield Example(name, label, load, row.group)


def _of_names(
    name: str, rows: Sequence[Row]
) -> tuple[tuple[str, ...], list[int | LabelSet | None]]:
    """Classes, and the label of each row, None where there is none."""
    classes = _sorted_classes({str(row.label) for row in rows if row.split == "train"} - {""})
    strange = {row.label for row in rows} - {"", *classes}
    if strange and len(classes) > 1:
        raise ValueError(
            "Expected the labels of all splits to be among those of 'train'. Received also: "
            f"{sorted(map(str, strange))} in {name!r}. Give rows of these to 'train' as well, "
            "leave them out, or say split= to have splits drawn anew."
        )
    labels = {name: label for label, name in enumerate(classes)}
    return classes, [labels.get(str(row.label)) for row in rows]


def _of_columns(
    rows: Sequence[Row], names: Sequence[str]
) -> tuple[tuple[str, ...], list[int | LabelSet | None]]:
    """Classes, and the label set of each row, None where nothing of it is known."""
    sets = [cast(LabelSet, row.label) for row in rows]
    trained = [label for row, label in zip(rows, sets, strict=True) if row.split == "train"]
    counts = presence_counts(trained, len(names))
    new = {int(old): label for label, old in enumerate(np.flatnonzero(counts))}
    labels: list[int | LabelSet | None] = []
    for each in sets:
        present = tuple(new[old] for old in each.present if old in new)
        absent = each.absent and tuple(new[old] for old in each.absent if old in new)
        known = present or absent or absent is None
        labels.append(LabelSet(present, absent) if known else None)
    return tuple(names[old] for old in new), labels


def full_name(kind: str, argument: str) -> str:
    """The name of a table with its paths absolute and its options in order.

    Example:
        >>> full_name("csv", "/data/../table.csv?root=/pictures/&label=species")
        'csv:/table.csv?label=species&root=/pictures'
    """
    path, options = _parse(kind, argument)
    ordered = {name: options[name] for name in OPTIONS[kind] if name in options}
    return f"{kind}:{source_options.join(path, ordered, safe='/,*')}"


def _parse(kind: str, argument: str) -> tuple[Location, dict[str, str]]:
    """Path and options of a table, both paths absolute."""
    path, options = source_options.parse(argument, OPTIONS[kind])
    if "root" in options:
        options["root"] = absolute(options["root"])
    return path, options


def open_table(kind: str, argument: str) -> Source:
    r"""Open a CSV or Parquet file.

    Args:
        kind: `"csv"` or `"parquet"`.
        argument: Its path or URL, and behind a `?` the names of its columns: `path` (of the
            image; else `path`, `file_name`, `filename` or `image`), `label` (else `label` or
            `class`), or `labels` (multi-label: a column for each, `a,b,c`, or `*` for all that have
            no other use; 1 is present, 0 absent, empty or -1 unknown), `split`
            (train, validation or test; else none: all rows are of one split), `group` (rows of one
            group stay in one split); and `root`, the folder that paths start from (else the
            table's own). Paths of images may be URLs themselves.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It cannot be read, has not these columns, or splits of other names.

    Example:
        >>> import pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "birds.csv"
        >>> _ = file.write_text("file_name,species\n1.jpg,wren\n2.jpg,robin\n")
        >>> open_table("csv", f"{file}?label=species").classes
        ('robin', 'wren')
    """
    path, root, options = _where(kind, argument)
    return TableSource(full_name(kind, argument), *read_rows(path, root, options))


def files(kind: str, argument: str) -> Iterator[str]:
    """The table and the images that it lists, each once: paths and URLs.

    Args:
        kind: As of `open_table`.
        argument: As of `open_table`.

    Raises:
        FileNotFoundError: There is no such table.
        ValueError: It cannot be read, or has not these columns.
    """
    path, root, options = _where(kind, argument)
    yield str(path)
    rows, _ = read_rows(path, root, options)
    yield from dict.fromkeys(join(row.root, row.path) for row in rows if row.path)


def _where(kind: str, argument: str) -> tuple[Location, str, dict[str, str]]:
    """A table, the folder that its paths start from, and its options."""
    path, options = _parse(kind, argument)
    root = options.get("root", str(path.parent))
    if not is_url(root) and not os.path.isdir(root):
        raise FileNotFoundError(
            "Expected a folder that the paths in the table start from. Received: "
            f"root={root!r}, which is none."
        )
    return path, root, options


def open_huggingface(argument: str) -> Source:
    """Open a folder in the imagefolder layout of Hugging Face's `datasets`.

    That is class folders, as for `folder:PATH`, or a file `metadata.csv`, `metadata.jsonl` or
    `metadata.parquet` beside the images, in the folder or in each split's, with their paths in the
    column `file_name`.

    Args:
        argument: The folder or its URL, and behind a `?` the name of the column with the `label`
            (else `label` or `class`).

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
        for row in read_rows(table, str(table.parent), columns, split)[0]
    ]
    return TableSource(name, rows)


def _metadata(folder: Location) -> Location | None:
    return next((folder / name for name in _METADATA if (folder / name).is_file()), None)


def _called(path: str) -> str:
    """The name of a file; one of a web server without what is asked of it."""
    if is_url(path):
        path = path.partition("?")[0]
    return os.path.basename(path)


def _problem(row: Row, before: Row, label: int | LabelSet | None) -> str:
    """Why a row cannot be used, whatever is in its file; empty where it can."""
    if not row.path:
        return "no path"
    if label is None:
        return "no label"
    if row is before:
        return ""
    same = "the same" if (row.label, row.split) == (before.label, before.split) else "another"
    return f"this file is listed in {before.place} already, with {same} label or split"


def _sorted_classes(names: set[str]) -> tuple[str, ...]:
    whole = all(name.lstrip("-").isdecimal() for name in names)
    return tuple(sorted(names, key=int if whole else str))  # type: ignore[arg-type]
