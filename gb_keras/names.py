"""Choices by name, with an error that helps to find the right one."""

import difflib
from collections.abc import Iterable


def require_name(argument: str, value: object, names: Iterable[str]) -> None:
    """Refuse a value that is none of the known names.

    Args:
        argument: What the value was given for.
        value: What was given.
        names: What could have been given.

    Raises:
        ValueError: `value` is not in `names`; the error lists them and names the nearest.

    Example:
        >>> require_name("optimizer", "adan", ["adam", "sgd"])
        Traceback (most recent call last):
        ...
        ValueError: Expected optimizer to be one of adam, sgd. Received: optimizer='adan'. Did you
        mean 'adam'?
    """
    names = list(names)
    if value not in names:
        nearest = difflib.get_close_matches(str(value), names, n=1)
        raise ValueError(
            f"Expected {argument} to be one of {', '.join(names)}. Received: {argument}={value!r}."
            + (f" Did you mean {nearest[0]!r}?" if nearest else "")
        )
