"""Amounts as Kubernetes writes them."""

import re

_QUANTITY = re.compile(r"\d+(\.\d+)?(m|[kMGTPE]|[KMGTPE]i)?")


def require_quantity(option: str, value: str) -> None:
    """Refuse what Kubernetes would not take as an amount.

    Args:
        option: What the amount was given for.
        value: The amount.

    Raises:
        ValueError: It is none.

    Example:
        >>> require_quantity("memory", "16 GB")
        Traceback (most recent call last):
        ...
        ValueError: Expected memory to be an amount as Kubernetes writes it, such as 4, 500m or
        16Gi. Received: memory='16 GB'.
    """
    if not _QUANTITY.fullmatch(value):
        raise ValueError(
            f"Expected {option} to be an amount as Kubernetes writes it, such as 4, 500m or "
            f"16Gi. Received: {option}={value!r}."
        )
