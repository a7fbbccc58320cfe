"""What a search for the options of a training tries, on one machine and on a cluster alike."""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

from gb_keras.stages import balance_options, methods

# What is searched for: its greatest value after the last epoch, whose model stays.
METRIC = "val_balanced_accuracy"
_LOG = "log:"
# Ours, and of its peers those that are best somewhere in docs/results.md, one of a kind.
_LOSSES = (
    "gradient_balanced",
    "logit_adjustment",
    "class_balanced",
    "label_smoothing",
    "generalised_cross_entropy",
)
_MULTI_LABEL_LOSSES = (
    "gradient_balanced",
    "logit_adjustment",
    "asymmetric",
    "distribution_balanced",
)
_BALANCE = {
    "density_exponent": "density-exponent=0.0..1.0",
    "prior_strength": "prior-strength=0.0..2.0",
    "max_weight": "max-weight=log:1.0..10.0",
    "momentum": "momentum=0,0.9,0.99,0.999",
    "noise_exponent": "noise-exponent=0.0..4.0",
    "label_smoothing": "label-smoothing=0.0..0.2",
}
_LEARNING_RATE = "learning-rate=log:1e-4..1e-2"
_LEARNING_RATE_OF_SGD = "learning-rate=log:1e-3..1.0"


@dataclasses.dataclass(frozen=True)
class Search:
    """An option of `gb-keras train` and the values that are tried.

    Attributes:
        option: Its name without dashes in front, such as `"learning-rate"`.
        kind: `"double"`, `"int"` or `"categorical"`, as Katib names them.
        values: The least and the greatest, or all choices.
        logarithmic: Whether orders of magnitude are equally likely, instead of values.

    Example:
        >>> Search.parse("learning-rate=log:1e-4..1e-1")
        Search(option='learning-rate', kind='double', values=('1e-4', '1e-1'), logarithmic=True)
        >>> Search.parse("loss=focal,gradient_balanced").values
        ('focal', 'gradient_balanced')
    """

    option: str
    kind: str
    values: tuple[str, ...]
    logarithmic: bool = False

    @classmethod
    def parse(cls, text: str) -> "Search":
        """Read `OPTION=LEAST..GREATEST`, `OPTION=log:LEAST..GREATEST` or `OPTION=A,B,C`.

        Raises:
            ValueError: The text is none of these.
        """
        option, _, space = text.partition("=")
        option = option.removeprefix("--")
        bounds = space.removeprefix(_LOG).split("..")
        logarithmic = space.startswith(_LOG)
        choices = tuple(choice for choice in space.split(",") if choice)
        if option and len(bounds) == 2 and all(map(_is_number, bounds)):
            least, greatest = map(float, bounds)
            if least < greatest and (least > 0 or not logarithmic):
                kind = "int" if all(bound.isdecimal() for bound in bounds) else "double"
                return cls(option, kind, tuple(bounds), logarithmic)
        elif option and len(choices) > 1 and not logarithmic:
            return cls(option, "categorical", choices)
        raise ValueError(
            "Expected what to search as OPTION=LEAST..GREATEST, OPTION=log:LEAST..GREATEST (above "
            f"0) or OPTION=A,B. Received: {text!r}. Try learning-rate=log:1e-4..1e-1 or "
            "loss=focal,gradient_balanced."
        )

    def __str__(self) -> str:
        """The text that `parse` reads."""
        if self.kind == "categorical":
            return f"{self.option}={','.join(self.values)}"
        return f"{self.option}={_LOG if self.logarithmic else ''}{'..'.join(self.values)}"

    @property
    def name(self) -> str:
        """The option as an argument of `train`."""
        return self.option.replace("-", "_")

    @property
    def python_values(self) -> tuple[Any, ...]:
        """The values as `train` takes them: numbers where they read as numbers.

        Example:
            >>> Search.parse("batch-size=32,64").python_values
            (32, 64)
        """
        return tuple(map(_python_value, self.values))

    def __contains__(self, value: Any) -> bool:
        """Whether a value may be tried."""
        if self.kind == "categorical":
            return value in self.python_values
        least, greatest = self.python_values
        return isinstance(value, (int, float)) and least <= value <= greatest


def default_losses(multi_label: bool, soft_labels: bool) -> tuple[str, ...]:
    """The losses that are tried where none is named.

    Args:
        multi_label: Whether the data has several labels an image.
        soft_labels: Whether labels of one class each become shares of classes.

    Example:
        >>> "generalised_cross_entropy" in default_losses(multi_label=False, soft_labels=True)
        False
    """
    if multi_label:
        return _MULTI_LABEL_LOSSES
    return tuple(loss for loss in _LOSSES if not soft_labels or loss in methods.soft_label_names())


def default_space(losses: Sequence[str], optimizer: str, fixed: Iterable[str]) -> list[Search]:
    """What is searched where nothing is named: loss, options of balancing, learning rate.

    Args:
        losses: Losses to try; the one where it is chosen already.
        optimizer: Name of the optimizer.
        fixed: Options, as arguments of `train`, that are not to be searched.

    Example:
        >>> for each in default_space(["logit_adjustment"], "sgd", fixed=["epochs"]):
        ...     print(each)
        prior-strength=0.0..2.0
        learning-rate=log:1e-3..1.0
    """
    texts = [f"loss={','.join(losses)}"] if len(losses) > 1 else []
    texts += [
        text
        for name, text in _BALANCE.items()
        if any(name in balance_options.defaults(loss) for loss in losses)
    ]
    texts.append(_LEARNING_RATE_OF_SGD if optimizer == "sgd" else _LEARNING_RATE)
    fixed = set(fixed)
    return [each for each in map(Search.parse, texts) if each.name not in fixed]


def check_names(searches: Sequence[Search], fixed: Iterable[str]) -> None:
    """Refuse options that are searched twice, or searched and given.

    Args:
        searches: What is searched.
        fixed: Options, as arguments of `train`, that are given.

    Raises:
        ValueError: There is one, or nothing is searched.
    """
    names = [search.option for search in searches]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"Expected options to search, each once. Received: {names}.")
    both = sorted(set(fixed) & {search.name for search in searches})
    if both:
        raise ValueError(
            "Expected each option to be searched or to be given to the training. Received both "
            f"for: {', '.join(both)}. Leave out one."
        )


def max_failed(num_trials: int) -> int:
    """How many of so many trials may fail before a search is given up.

    Args:
        num_trials: Trials in all.
    """
    return math.ceil(num_trials / 4)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _python_value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
