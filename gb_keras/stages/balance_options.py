"""The options of balancing, by the names that `GradientBalancedLoss` has, and who takes which."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from gb_keras import baselines
from gb_keras.losses import GradientBalancedLoss

NAMES = (
    "density_exponent",
    "prior_strength",
    "max_weight",
    "momentum",
    "noise_exponent",
    "label_smoothing",
)


def _defaults(function: Any, *names: str) -> dict[str, float]:
    parameters = inspect.signature(function).parameters
    return {name: parameters[name].default for name in names}


# Of each method that has some, with its own defaults.
_OF_LOSS = {
    "gradient_balanced": _defaults(GradientBalancedLoss, *NAMES),
    "ghm_c": _defaults(baselines.ghm_c, "momentum"),
    # Its tau, under the name that it has where several things are balanced; and so the next one.
    "logit_adjustment": {
        "prior_strength": _defaults(baselines.LogitAdjustedCrossentropy, "tau")["tau"]
    },
    "label_smoothing": {
        "label_smoothing": _defaults(baselines.LabelSmoothedCrossentropy, "smoothing")["smoothing"]
    },
}


def defaults(loss: str) -> dict[str, float]:
    """The options that a method takes, with its own defaults.

    Args:
        loss: Name of a method for one label or for several.

    Example:
        >>> defaults("ghm_c"), defaults("focal")
        ({'momentum': 0.75}, {})
    """
    return dict(_OF_LOSS.get(loss, {}))


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Of options of `train` those of balancing that are set.

    Args:
        options: Some or all options, by name.

    Example:
        >>> given({"epochs": 3, "momentum": 0.9, "max_weight": None})
        {'momentum': 0.9}
    """
    return {name: options[name] for name in NAMES if options.get(name) is not None}


def without_others(options: Mapping[str, Any], loss: str) -> dict[str, Any]:
    """Options of `train`, less those of balancing that a method does not take.

    For who trains with several methods, all else equal.

    Args:
        options: Some or all options, by name.
        loss: Name of the method.

    Example:
        >>> without_others({"epochs": 3, "momentum": 0.9, "prior_strength": 1.0}, "ghm_c")
        {'epochs': 3, 'momentum': 0.9}
    """
    others = set(NAMES) - set(defaults(loss))
    return {name: value for name, value in options.items() if name not in others}


def takers(name: str, losses: Sequence[str]) -> list[str]:
    """The methods among several that take an option.

    Args:
        name: One of `NAMES`.
        losses: Names of methods, at least one.

    Raises:
        ValueError: None of them does.

    Example:
        >>> takers("prior_strength", ["focal", "logit_adjustment"])
        ['logit_adjustment']
        >>> takers("momentum", ["focal"])
        Traceback (most recent call last):
        ...
        ValueError: Expected a loss that takes momentum, one of gradient_balanced, ghm_c. Received:
        focal. Leave out momentum, also of --config, or choose another loss.
    """
    found = [loss for loss in losses if name in defaults(loss)]
    if not found:
        able = [loss for loss, names in _OF_LOSS.items() if name in names]
        raise ValueError(
            f"Expected a loss that takes {name}, one of {', '.join(able)}. Received: "
            f"{', '.join(losses)}. Leave out {name}, also of --config, or choose another loss."
        )
    return found


def check(loss: str, options: Mapping[str, Any]) -> None:
    """Refuse options of balancing that a method does not take, or that are out of range.

    Args:
        loss: Name of the method.
        options: Some or all options of `train`, by name.

    Raises:
        ValueError: There is one.
    """
    wanted = given(options)
    for name in wanted:
        takers(name, [loss])
    GradientBalancedLoss(**wanted)  # Refuses what is out of range.
