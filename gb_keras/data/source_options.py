"""What stands behind the path of a data set's name: `PATH?option=value&option=value`."""

from collections.abc import Collection, Mapping
from urllib.parse import parse_qsl, urlencode

from gb_keras.data.locations import Location, location
from gb_keras.names import require_name


def parse(argument: str, known: Collection[str]) -> tuple[Location, dict[str, str]]:
    """Take a path and its options apart.

    Args:
        argument: A path or URL, and behind a `?` the options, written as in a URL.
        known: Names of the options that there are.

    Returns:
        The path, absolute, and the options that were given.

    Raises:
        ValueError: An option is unknown, given twice, or written in another way, or nothing reads
            such a URL.

    Example:
        >>> parse("/data/../table.csv?label=species", ["path", "label"])
        (PosixPath('/table.csv'), {'label': 'species'})
    """
    path, mark, query = argument.partition("?")
    try:
        given = parse_qsl(query, strict_parsing=True, keep_blank_values=True) if mark else []
    except ValueError as error:
        raise ValueError(
            f"Expected options as ?{'=...&'.join(known)}=... behind the path. Received: "
            f"{argument!r} ({error})."
        ) from error
    options = dict(given)
    for name in options:
        require_name("option", name, known)
    if len(options) < len(given):
        raise ValueError(f"Expected each option once. Received: {argument!r}.")
    return location(path), options


def join(path: Location | str, options: Mapping[str, str], safe: str = "") -> str:
    """The argument with these options.

    Args:
        path: The path.
        options: Values by name, in the order to write them in.
        safe: Characters to write as they are.

    Example:
        >>> join("/table.csv", {"label": "species", "split": ""})
        '/table.csv?label=species&split='
    """
    query = urlencode(options, safe=safe)
    return f"{path}?{query}" if query else str(path)
