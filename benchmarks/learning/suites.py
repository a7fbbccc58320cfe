"""Suites: which trials make a table."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from benchmarks.learning.regimes import REGIMES
from benchmarks.learning.trial import EPOCHS, Trial, method_names
from gb_keras.names import require_name
from gb_keras.stages import methods

OURS = "gradient_balanced"
BASELINE = "cross_entropy"
# Each part of the method off in turn.
ABLATIONS: dict[str, tuple[tuple[str, float], ...]] = {
    "no density weights": (("density_exponent", 0.0),),
    "no class margin": (("prior_strength", 0.0),),
    "no noise rate": (("noise_exponent", 0.0),),
    "no label smoothing": (("label_smoothing", 0.0),),
}
# What is tried for each method beside its default, three settings each: its own parameter, and
# the learning rate where it has none.
_RATES = ((("learning_rate", 3e-4),), (("learning_rate", 3e-3),), (("learning_rate", 1e-2),))
TUNED: dict[str, tuple[tuple[tuple[str, float], ...], ...]] = {
    "cross_entropy": _RATES,
    "label_smoothing": ((("smoothing", 0.05),), (("smoothing", 0.2),), (("smoothing", 0.3),)),
    "generalised_cross_entropy": ((("q", 0.3),), (("q", 0.5),), (("q", 0.9),)),
    "symmetric_cross_entropy": (
        (("alpha", 0.01),),
        (("alpha", 0.1), ("beta", 4.0)),
        (("alpha", 1.0),),
    ),
    "focal": ((("gamma", 0.5),), (("gamma", 1.0),), (("gamma", 5.0),)),
    "class_balanced": _RATES,
    "square_root_resampling": _RATES,
    "logit_adjustment": ((("tau", 0.5),), (("tau", 1.5),), (("tau", 2.0),)),
    "ldam_drw": _RATES,
    "equalization_v2": ((("gamma", 4.0),), (("alpha", 2.0),), (("alpha", 8.0),)),
    "seesaw": ((("p", 0.4),), (("p", 1.2),), (("q", 1.0),)),
    "ghm_c": ((("momentum", 0.0),), (("momentum", 0.99),), (("max_weight", 10.0),)),
    OURS: ((("noise_exponent", 0.0),), (("max_weight", 4.0),), (("label_smoothing", 0.1),)),
}
_QUICK_REGIMES = ("digits", "digits-lt30", "digits-noise30")
_QUICK_METHODS = (BASELINE, "label_smoothing", "logit_adjustment", OURS)
_MNIST_REGIMES = tuple(name for name in REGIMES if name.startswith("mnist5k"))
_MULTI_LABEL_REGIMES = tuple(name for name in REGIMES if REGIMES[name].mosaics)
_GLYPH_REGIMES = ("glyphs-lt100", "glyphs-lt100-noise30", "glyphs-few", "extreme")
# One of each kind, since every method is tried with four settings.
_TUNED_REGIMES = (
    "mnist5k-lt100",
    "mnist5k-noise40",
    "mnist5k-pair20",
    "mnist5k-lt100-noise30",
)
# By itself, since its 2,227 classes take many times longer.
_CJK_REGIMES = ("cjk-few",)


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
    return [trial for seed in range(num_seeds) for trial in _of_seed(suite, seed)]


def select(suite: str, records: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The records of a suite's trials, of any seed, in the suite's order.

    Suites have trials in common, each of which is recorded once.

    Args:
        suite: One of `names()`.
        records: What `records.read` returned.

    Raises:
        ValueError: There is no suite of this name.
    """
    place = {trial.cell: number for number, trial in enumerate(_of_seed(suite, 0))}

    def cell(record: Mapping[str, Any]) -> tuple[str, str, str]:
        return record["regime"], record["network"], record["label"]

    return sorted((r for r in records if cell(r) in place), key=lambda r: place[cell(r)])


def _of_seed(suite: str, seed: int) -> list[Trial]:
    require_name("suite", suite, _SUITES)
    return _SUITES[suite](seed)


def names() -> list[str]:
    """Names that `trials` knows."""
    return list(_SUITES)


def _quick(seed: int) -> list[Trial]:
    return [
        Trial(regime, "mlp", method, seed) for regime in _QUICK_REGIMES for method in _QUICK_METHODS
    ]


def _peers(regimes: Sequence[str], network: str, seed: int) -> list[Trial]:
    return [
        Trial(regime, network, method, seed)
        for regime in regimes
        for method in method_names(regime)
    ]


def _both_networks(regimes: Sequence[str], seed: int) -> list[Trial]:
    return [trial for network in EPOCHS for trial in _peers(regimes, network, seed)]


def _tuned(seed: int) -> list[Trial]:
    return [
        Trial(regime, "mlp", method, seed, options)
        for regime in _TUNED_REGIMES
        for method in methods.names()
        for options in ((), *TUNED[method])
    ]


def _ablation(seed: int) -> list[Trial]:
    return [
        Trial(regime, "mlp", OURS, seed, options)
        for regime in (*_MNIST_REGIMES, *_MULTI_LABEL_REGIMES)
        for options in ((), *ABLATIONS.values())
    ]


_SUITES: dict[str, Callable[[int], list[Trial]]] = {
    "quick": _quick,
    "mlp": functools.partial(_peers, _MNIST_REGIMES, "mlp"),
    "small_cnn": functools.partial(_peers, _MNIST_REGIMES, "small_cnn"),
    "glyphs": functools.partial(_peers, _GLYPH_REGIMES, "mlp"),
    "glyphs_small_cnn": functools.partial(_peers, _GLYPH_REGIMES, "small_cnn"),
    "cjk": functools.partial(_both_networks, _CJK_REGIMES),
    "multi_label": functools.partial(_both_networks, _MULTI_LABEL_REGIMES),
    "full": functools.partial(
        _both_networks,
        (*_MNIST_REGIMES, *_GLYPH_REGIMES, *_CJK_REGIMES, *_MULTI_LABEL_REGIMES),
    ),
    "ablation": _ablation,
    "tuned": _tuned,
}
