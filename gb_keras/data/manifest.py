"""The manifest of a prepared data set: what it holds, where it came from, and checksums."""

import hashlib
import json
import os
from importlib import metadata
from pathlib import Path
from typing import Any

FILE_NAME = "manifest.json"
FORMAT = 1

_KEYS = ("data", "options", "classes", "image_shape", "splits", "skipped", "checksums", "versions")
_PACKAGES = (
    "gb-keras",
    "tensorflow",
    "tensorflow-datasets",
    "numpy",
    "pillow",
    "fonttools",
    "scikit-learn",
    "scipy",
    "mlxtend",
)


def read_manifest(data_dir: str | os.PathLike) -> dict[str, Any]:
    """Read and check the manifest of a data set that `prepare` has made.

    Args:
        data_dir: The prepared data set's folder.

    Returns:
        The manifest: `format, data, options, classes, image_shape, splits, skipped,
        num_labels_changed, checksums, versions`; `multi_label` where images have any number of
        labels; of data sets drawn from fonts `made_of`, the
        SHA-256 of each font file; of those whose files list more than counts `left_out`, by split
        how much of it was left out or changed, by the reason;
        of those prepared with `min_images` `left_out_classes`, how many images each of the classes
        that were left out has.

    Raises:
        FileNotFoundError: The folder is not a prepared data set, or lost one of its files.
        ValueError: The manifest is damaged or of an unknown format.

    Example:
        >>> read_manifest("/no/such/folder")
        Traceback (most recent call last):
        ...
        FileNotFoundError: Expected a data set made by `gb-keras prepare`...
    """
    path = Path(data_dir) / FILE_NAME
    if not path.is_file():
        raise FileNotFoundError(
            f"Expected a data set made by `gb-keras prepare`, with a {FILE_NAME}. Received: "
            f"{str(data_dir)!r}, which has none. Prepare the data set into this folder first."
        )
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"Expected {str(path)!r} to hold JSON. Received: a file that cannot be read ({error}). "
            "Prepare the data set again into another folder."
        ) from error
    received = manifest.get("format") if isinstance(manifest, dict) else None
    missing = [key for key in _KEYS if received == FORMAT and key not in manifest]
    if received != FORMAT or missing:
        what = f"no {', '.join(missing)}" if missing else f"format {received!r}"
        raise ValueError(
            f"Expected {str(path)!r} to be a manifest of format {FORMAT}. Received: {what}. "
            "Prepare the data set again with this version of gb_keras."
        )
    lost = [name for name in manifest["checksums"] if not (Path(data_dir) / name).is_file()]
    if lost:
        raise FileNotFoundError(
            f"Expected every file that {str(path)!r} lists. Received: a folder without "
            f"{', '.join(lost)}. Prepare the data set again into another folder."
        )
    return manifest


def checksums(directory: str | os.PathLike) -> dict[str, str]:
    """SHA-256 of every visible file directly in a folder, by file name.

    Example:
        >>> import pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> _ = (folder / "a.txt").write_text("abc")
        >>> checksums(folder)["a.txt"][:8]
        'ba7816bf'
    """
    result = {}
    for path in sorted(Path(directory).iterdir()):
        if path.is_file() and not path.name.startswith("."):
            with open(path, "rb") as file:
                result[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return result


def versions() -> dict[str, str]:
    """The versions of the packages that shape a prepared data set; absent ones are left out."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
