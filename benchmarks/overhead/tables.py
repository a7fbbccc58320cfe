"""The figures as Markdown tables."""

from collections.abc import Mapping
from typing import Any

from benchmarks.overhead.cases import CASES
from benchmarks.overhead.measure import BALANCED, RIVALS


def row(name: str, figures: Mapping[str, Any]) -> str:
    """A case's row of the table of costs.

    Args:
        name: The case.
        figures: What `measure.times` returned, with `memory_ratio` where it was measured.

    Example:
        >>> row("mlp", {"plain_ms": 1.5, "memory_ratio": 1.01,
        ...             "balanced": {"ratio": 1.08, "quartiles": [1.05, 1.12]}})
        '| mlp | 1.50 | 1.080 | 1.050 to 1.120 | 1.10 | yes | 1.010 |'
    """
    limit = CASES[name].limit
    balanced = figures[BALANCED]
    low, high = balanced["quartiles"]
    wanted, met = "", ""
    if limit is not None:
        wanted, met = f"{limit:.2f}", "yes" if balanced["ratio"] <= limit else "**no**"
    memory = f"{figures['memory_ratio']:.3f}" if "memory_ratio" in figures else ""
    return (
        f"| {name} | {figures['plain_ms']:.2f} | {balanced['ratio']:.3f} | {low:.3f} to {high:.3f} "
        f"| {wanted} | {met} | {memory} |"
    )


HEADER = (
    "| case | plain ms | time ratio | quartiles | at most | reached | memory ratio |\n"
    "|---|---:|---:|---|---:|---|---:|"
)


def costs(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """All cases, a row each.

    Args:
        figures: By case, as of `row`.
    """
    return "\n".join([HEADER, *(row(name, figures[name]) for name in CASES if name in figures)])


def rivals(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """Time ratios beside those of published losses."""
    lines = [
        "| case | balanced | GHM-C as published | Seesaw as published |",
        "|---|---:|---:|---:|",
    ]
    for name, found in figures.items():
        if all(rival in found for rival in RIVALS):
            ratios = [f"{found[each]['ratio']:.3f}" for each in (BALANCED, *RIVALS)]
            lines.append(f"| {name} | {' | '.join(ratios)} |")
    return "\n".join(lines)


def counts(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """The work of a step.

    Args:
        figures: By case, for `plain` and `balanced` the fields of `count.Count`.
    """
    lines = [
        "| case | | operations | passes over (samples, classes) | float operations |",
        "|---|---|---:|---:|---:|",
    ]
    for name, variants in figures.items():
        for variant, found in variants.items():
            lines.append(
                f"| {name} | {variant} | {found['operations']} | {found['passes']} | "
                f"{found['float_operations']:,} |"
            )
    return "\n".join(lines)


def legend(names: Mapping[str, Any]) -> str:
    """What each case is, a line for each that says something new."""
    lines = {CASES[name].what: f"- `{name}`: {CASES[name].what}" for name in reversed(list(names))}
    return "\n".join(reversed(lines.values()))
