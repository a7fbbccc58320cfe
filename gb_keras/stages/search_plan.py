"""What a search is to do, checked before any training starts."""

import dataclasses
import inspect
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gb_keras.data import manifest as manifests
from gb_keras.names import require_name
from gb_keras.stages import (
    balance_options,
    methods,
    multi_label_methods,
    search_space,
    train_config,
)
from gb_keras.stages.search_space import Search
from gb_keras.stages.train import train

# What a trial has of its own.
_NOT_OPTIONS = ("data_dir", "output_dir", "resume", "callbacks")


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a search is to do.

    Attributes:
        data_dir: Folder of the data set.
        folder: Folder of the search.
        searches: What is searched.
        fixed: Options of `train` that all trials have.
        arguments: The same, and the defaults of all others.
        config: What determines a training with them, see `train_config.config`.
        losses: The losses that trials may have.
    """

    data_dir: str | os.PathLike
    folder: Path
    searches: tuple[Search, ...]
    fixed: dict[str, Any]
    arguments: dict[str, Any]
    config: dict[str, Any]
    losses: tuple[str, ...]

    def first(self) -> dict[str, Any]:
        """Values of the first trial: the defaults, as far as they are in the space."""
        own = self.arguments["loss"]
        loss = own if own in self.losses else self.losses[0]
        defaults = {**self.arguments, **balance_options.defaults(loss), "loss": loss}
        values = {each.name: defaults[each.name] for each in self.searches}
        return {each.name: values[each.name] for each in self.searches if values[each.name] in each}

    def options(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Options of `train` for a trial with some values of what is searched."""
        options = {**self.fixed, **values}
        # Of the options that take several values, one is tried at a time.
        if "augmentation" in values:
            options["augmentation"] = [values["augmentation"]]
        return balance_options.without_others(options, options.get("loss", self.arguments["loss"]))


def make_plan(
    data_dir: str | os.PathLike,
    output_dir: str | os.PathLike,
    searches: Sequence[Search] | None,
    train_options: Mapping[str, Any],
) -> Plan:
    """Fill in what is not said, and refuse what no training would take.

    Args:
        data_dir: Folder that `prepare` wrote.
        output_dir: Folder of the search.
        searches: What is searched, or None for the default.
        train_options: Options of `train` that all trials have.

    Raises:
        ValueError: An option is unknown, searched twice, or has a value out of range.
        FileNotFoundError: `data_dir` holds no prepared data set.
    """
    fixed = dict(train_options)
    _check_options(fixed)
    bound = inspect.signature(train).bind(data_dir, output_dir, **fixed)
    bound.apply_defaults()
    arguments = bound.arguments
    manifest = manifests.read_manifest(data_dir)
    config = train_config.config(arguments, manifest)
    losses = _losses(config, fixed, searches)
    if searches is None:
        searches = search_space.default_space(losses, arguments["optimizer"], fixed)
    search_space.check_names(searches, fixed)
    _check_options(each.name for each in searches)
    plan = Plan(data_dir, Path(output_dir), tuple(searches), fixed, arguments, config, losses)
    _check(plan, (multi_label_methods if config.get("multi_label") else methods).names())
    return plan


def _check_options(names: Iterable[str]) -> None:
    known = [name for name in inspect.signature(train).parameters if name not in _NOT_OPTIONS]
    for name in names:
        require_name("an option of train", name, known)


def _losses(
    config: Mapping[str, Any], fixed: Mapping[str, Any], searches: Sequence[Search] | None
) -> tuple[str, ...]:
    """The losses that trials may have."""
    if searches is not None:
        named = [each.values for each in searches if each.name == "loss"]
        return named[0] if named else (config["loss"],)
    if "loss" in fixed:
        return (config["loss"],)
    return search_space.default_losses(
        config.get("multi_label", False), train_config.soft_labels(config)
    )


def _check(plan: Plan, known_losses: Sequence[str]) -> None:
    """Refuse what no training would take: each loss, and each value of each option."""
    for loss in plan.losses:
        require_name("loss", loss, known_losses)
        if train_config.soft_labels(plan.config):
            methods.require_soft_labels(loss)
        train_config.check({**plan.arguments, **_no_balance(), **plan.options({"loss": loss})})
    for name in balance_options.given(plan.fixed):
        balance_options.takers(name, plan.losses)
    for each in plan.searches:
        losses = plan.losses
        if each.name in balance_options.NAMES:
            losses = tuple(balance_options.takers(each.name, losses))
        for value in each.python_values:
            options = plan.options({"loss": losses[0], each.name: value})
            train_config.check({**plan.arguments, **_no_balance(), **options})


def _no_balance() -> dict[str, None]:
    return dict.fromkeys(balance_options.NAMES)
