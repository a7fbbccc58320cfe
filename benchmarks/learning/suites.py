"""Suites: which trials make a table."""

from collections.abc import Callable

from benchmarks.learning.regimes import REGIMES
from benchmarks.learning.trial import Trial
from gb_keras.names import require_name
from gb_keras.stages import methods

OURS = "gradient_balanced"
BASELINE = "cross_entropy"
# Each part of the method off in turn.
ABLATIONS: dict[str, tuple[tuple[str, float], ...]] = {
    "no density weights": (("density_exponent", 0.0),),
    "no class margin": (("prior_strength", 0.0),),
    "no noise rate": (("noise_exponent", 0.0),),
}
_QUICK_REGIMES = ("digits", "digits-lt30", "digits-noise30")
_QUICK_METHODS = (BASELINE, "label_smoothing", "logit_adjustment", OURS)
_MNIST_REGIMES = tuple(name for name in REGIMES if name.startswith("mnist5k"))


def trials(suite: str, num_seeds: int) -> list[Trial]:
    """The trials of a suite, in an order that has each seed whole before the next.

    Args:
        suite: One of `names()`.
        num_seeds: How many seeds, from 0 on; at least 1.

    Raises:
        ValueError: There is no suite of this name.

    Example:
        >>> [trial.key for trial in trials("quick", 1)][:2]
        ['digits/mlp/cross_entropy/0', 'digits/mlp/label_smoothing/0']
    """
    require_name("suite", suite, _SUITES)
    return [trial for seed in range(num_seeds) for trial in _SUITES[suite](seed)]


def names() -> list[str]:
    """Names that `trials` knows."""
    return list(_SUITES)


def _quick(seed: int) -> list[Trial]:
    return [
        Trial(regime, "mlp", method, seed) for regime in _QUICK_REGIMES for method in _QUICK_METHODS
    ]


def _peers(network: str) -> Callable[[int], list[Trial]]:
    def of_seed(seed: int) -> list[Trial]:
        return [
            Trial(regime, network, method, seed)
            for regime in _MNIST_REGIMES
            for method in methods.names()
        ]

    return of_seed


def _ablation(seed: int) -> list[Trial]:
    return [
        Trial(regime, "mlp", OURS, seed, options)
        for regime in _MNIST_REGIMES
        for options in ((), *ABLATIONS.values())
    ]


_SUITES: dict[str, Callable[[int], list[Trial]]] = {
    "quick": _quick,
    "mlp": _peers("mlp"),
    "small_cnn": _peers("small_cnn"),
    "ablation": _ablation,
}
