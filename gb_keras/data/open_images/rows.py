"""The rows of the files of an Open Images download (V4 to V7).

Kuznetsova et al., "The Open Images Dataset V4", IJCV 2020, arXiv 1811.00982; the formats are
described at https://storage.googleapis.com/openimages/web/download_v7.html
"""

import collections
import csv
import math
from collections.abc import Iterator, Mapping, Sequence

from gb_keras.data.locations import Location
from gb_keras.data.open_images.layout import FLAGS, Box

_EDGES = ("XMin", "YMin", "XMax", "YMax")


def class_names(path: Location) -> dict[str, str]:
    r"""Display names by machine-readable name, in the file's order.

    Raises:
        ValueError: A row has no two columns, a name stands for two classes, or there is no row.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp(), "class-descriptions-boxable.csv")
        >>> _ = path.write_text("/m/011k07,Tortoise\n/m/011q46kg,Container\n")
        >>> class_names(path)
        {'/m/011k07': 'Tortoise', '/m/011q46kg': 'Container'}
    """
    names: dict[str, str] = {}
    for line, row in _rows(path):
        if len(row) != 2 or not all(row):
            raise ValueError(
                f"Expected a machine-readable name and a display name in line {line} of "
                f"{str(path)!r}. Received: {row}."
            )
        # V7 has a header, the versions before have none.
        if row[0] != "LabelName":
            names[row[0]] = row[1].strip()
    if not names:
        raise ValueError(_empty(path, "classes"))
    # Display names are not unique among the 20,000 of all classes.
    times = collections.Counter(names.values())
    return {mid: name if times[name] == 1 else f"{name} ({mid})" for mid, name in names.items()}


def boxes(path: Location) -> Iterator[tuple[str, Box]]:
    """The image's id and the box of each row of a file like `train-annotations-bbox.csv`.

    Raises:
        ValueError: The file is empty, has no such columns, or a row cannot be read; the error names
            the line.
    """
    for line, row in _table(path, ("ImageID", "LabelName", *_EDGES, *FLAGS.values())):
        left, top, right, bottom = (_number(path, line, name, row[name]) for name in _EDGES)
        flags = frozenset(
            flag for flag, name in FLAGS.items() if _flag(path, line, name, row[name])
        )
        yield row["ImageID"], Box(row["LabelName"], (left, top, right, bottom), flags, line)


def labels(path: Location) -> Iterator[tuple[str, str, bool | None]]:
    """Image, class and whether it shows the class, of each row of the labels of whole images.

    Args:
        path: A file like `train-annotations-human-imagelabels.csv`.

    Yields:
        The image's id, the class's machine-readable name, and whether someone has seen the class on
        it; None where only a machine says so.

    Raises:
        ValueError: As in `boxes`.
    """
    for line, row in _table(path, ("ImageID", "Source", "LabelName", "Confidence")):
        confidence = _number(path, line, "Confidence", row["Confidence"])
        if row["Source"] == "machine":
            yield row["ImageID"], row["LabelName"], None
            continue
        if confidence not in (0, 1):
            raise ValueError(
                f"Expected 1 or 0 as Confidence of what {row['Source']!r} says in line {line} of "
                f"{str(path)!r}. Received: {row['Confidence']!r}."
            )
        yield row["ImageID"], row["LabelName"], confidence == 1


def names_of_lines(path: Location) -> list[str]:
    """The machine-readable names of a file with one in each line, each once.

    Raises:
        ValueError: There is none.
    """
    names = dict.fromkeys(",".join(row) for _, row in _rows(path))
    if not names:
        raise ValueError(_empty(path, "machine-readable names"))
    return list(names)


def rotations(path: Location) -> dict[str, int]:
    """By how many degrees images are to be turned counterclockwise, where this is known.

    Args:
        path: A file of image ids with the column `Rotation`.

    Raises:
        ValueError: As in `boxes`.
    """
    found = {}
    for line, row in _table(path, ("ImageID", "Rotation")):
        degrees = row["Rotation"].strip()
        if degrees.lower() in ("", "nan"):
            continue
        number = _number(path, line, "Rotation", degrees)
        if number not in (0, 90, 180, 270):
            raise ValueError(
                f"Expected 0, 90, 180, 270 or nan as Rotation in line {line} of {str(path)!r}. "
                f"Received: {degrees!r}."
            )
        found[row["ImageID"]] = int(number)
    return found


def _table(path: Location, columns: Sequence[str]) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Rows with the columns of these names, and the numbers of their lines."""
    rows = _rows(path)
    _, header = next(rows, (0, []))
    if not header:
        raise ValueError(_empty(path, "rows"))
    missing = [name for name in columns if name not in header]
    if missing:
        raise ValueError(
            f"Expected the columns {', '.join(columns)} in {str(path)!r}. Received: "
            f"{', '.join(header)}; there is no {', '.join(missing)}."
        )
    places = [header.index(name) for name in columns]
    for line, row in rows:
        if len(row) != len(header):
            raise ValueError(
                f"Expected {len(header)} values in line {line} of {str(path)!r}. Received: "
                f"{len(row)}, {row}. The file may be cut short: download it again."
            )
        yield line, {name: row[place] for name, place in zip(columns, places, strict=True)}


def _rows(path: Location) -> Iterator[tuple[int, list[str]]]:
    """Rows that hold anything, and the numbers of their lines."""
    # With "-sig" a byte order mark is no part of the first name.
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        try:
            for row in reader:
                if any(row):
                    yield reader.line_num, row
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(
                f"Expected text of comma-separated values in UTF-8 in {str(path)!r}. Received: "
                f"line {reader.line_num + 1} cannot be read ({error}). Download the file again."
            ) from error


def _number(path: Location, line: int, name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(
            f"Expected a number as {name} in line {line} of {str(path)!r}. Received: {text!r}."
        )
    return number


def _flag(path: Location, line: int, name: str, text: str) -> bool:
    """1 is present, 0 is not present, -1 is unknown."""
    if text not in ("1", "0", "-1"):
        raise ValueError(
            f"Expected 1, 0 or -1 as {name} in line {line} of {str(path)!r}. Received: {text!r}."
        )
    return text == "1"


def _empty(path: Location, what: str) -> str:
    return (
        f"Expected {what} in {str(path)!r}. Received: an empty file. Download it again from "
        "https://storage.googleapis.com/openimages/web/download_v7.html"
    )
