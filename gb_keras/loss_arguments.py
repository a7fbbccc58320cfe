"""Ranges of the arguments of a balanced loss."""

import math
import numbers
from typing import Any


def check(
    bins: int,
    momentum: float,
    density_exponent: float,
    prior_strength: float,
    max_weight: float | None,
    noise_exponent: float,
    label_smoothing: float,
) -> None:
    """Refuse arguments of a `GradientBalancedLoss` that are out of their ranges.

    Args:
        bins: An integer of at least 1.
        momentum: A number in [0, 1).
        density_exponent: A finite number of at least 0.
        prior_strength: A finite number of at least 0.
        max_weight: A finite number of at least 1, or None.
        noise_exponent: A finite number of at least 0.
        label_smoothing: A number in [0, 1).

    Raises:
        ValueError: An argument out of its range, which the message gives.
    """
    if not _is_number(bins, numbers.Integral) or bins < 1:
        raise ValueError(f"Expected `bins` to be an integer of at least 1. Received: bins={bins!r}")
    if not _is_number(momentum) or not 0 <= momentum < 1:
        raise ValueError(
            f"Expected `momentum` in [0, 1), 1 excluded: it would never take a batch in. "
            f"Received: momentum={momentum!r}"
        )
    for argument, value in (
        ("density_exponent", density_exponent),
        ("prior_strength", prior_strength),
        ("noise_exponent", noise_exponent),
    ):
        if not _is_number(value) or not 0 <= value < math.inf:
            raise ValueError(
                f"Expected `{argument}` to be a finite number of at least 0. "
                f"Received: {argument}={value!r}"
            )
    if not _is_number(label_smoothing) or not 0 <= label_smoothing < 1:
        raise ValueError(
            "Expected `label_smoothing` in [0, 1): it is the share of a label that goes to all "
            f"classes. Received: label_smoothing={label_smoothing!r}"
        )
    if max_weight is not None and (not _is_number(max_weight) or not 1 <= max_weight < math.inf):
        raise ValueError(
            "Expected `max_weight` to be a finite number of at least 1, or None for no cap: "
            f"weights are scaled to mean 1. Received: max_weight={max_weight!r}"
        )


def _is_number(value: Any, kind: type = numbers.Real) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
