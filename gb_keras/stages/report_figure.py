"""The look of all reports: one palette for light and dark, and matplotlib figures that follow it.

Figures are drawn in the light colours. In a page their SVG names the colours instead of holding
them, so one picture is right in light and in dark mode.
"""

import contextlib
import io
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import markupsafe
import matplotlib
import matplotlib.figure

# name: (light, dark). The run colours are those of Okabe and Ito, made for all kinds of sight.
PALETTE = {
    "ink": ("#1f2328", "#e6edf3"),
    "muted": ("#59636e", "#9aa4b0"),
    "line": ("#d1d9e0", "#343b44"),
    "paper": ("#ffffff", "#0f1318"),
    "panel": ("#f6f8fa", "#171c23"),
    "accent": ("#0072b2", "#58b1ee"),
    "error": ("#d55e00", "#ff8f50"),
    "good": ("#009e73", "#3fcf9f"),
    "rose": ("#cc79a7", "#e9a0c9"),
    "amber": ("#e69f00", "#f3bd45"),
    "sky": ("#56b4e9", "#a5dcff"),
}
UNKNOWN = "n/a"
RUN_COLOURS = ("accent", "error", "good", "rose", "amber", "sky")


def colour(name: str) -> str:
    """The light colour of a name in `PALETTE`: what figures are drawn in."""
    return PALETTE[name][0]


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Within this block matplotlib figures look like the reports."""
    settings: Any = {
        "font.family": "sans-serif",
        "font.size": 10,
        "text.color": colour("ink"),
        # Names are names, also with a $ in them.
        "text.parse_math": False,
        "axes.edgecolor": colour("line"),
        "axes.facecolor": "none",
        "axes.grid": True,
        "axes.labelcolor": colour("muted"),
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlecolor": colour("ink"),
        "axes.titlelocation": "left",
        "axes.titlesize": 10.5,
        "axes.titleweight": "bold",
        "axes.axisbelow": True,
        "figure.constrained_layout.h_pad": 0.08,
        "figure.constrained_layout.w_pad": 0.08,
        "figure.facecolor": "none",
        "grid.color": colour("line"),
        "grid.linewidth": 0.6,
        "legend.frameon": False,
        "legend.labelcolor": colour("ink"),
        "lines.linewidth": 1.8,
        "lines.solid_capstyle": "round",
        "xtick.color": colour("line"),
        "xtick.labelcolor": colour("muted"),
        "ytick.color": colour("line"),
        "ytick.labelcolor": colour("muted"),
        "svg.fonttype": "none",
        "svg.hashsalt": "gb_keras",
    }
    with matplotlib.rc_context(settings):
        yield


def svg(figure: matplotlib.figure.Figure, name: str, description: str) -> markupsafe.Markup:
    """A figure as an SVG element for a page, in the colours of the page.

    Args:
        figure: The figure, drawn within `style()` in the colours of `PALETTE`.
        name: Unique in the page: prefix of all ids in the picture.
        description: What a person who cannot see the picture is told.
    """
    buffer = io.StringIO()
    with style(), warnings.catch_warnings():
        # The page shows text in the reader's fonts, which have more letters than matplotlib's own.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'( id="|url\(#|href="#)', rf"\1{name}-", text)
    for key, (light, _) in PALETTE.items():
        text = text.replace(light, f"var(--{key})")
    label = markupsafe.escape(description)
    return markupsafe.Markup(text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1))


def png(figure: matplotlib.figure.Figure, path: Path) -> None:
    """Write a figure as a picture file with the light paper colour behind it."""
    with style():
        figure.savefig(path, format="png", dpi=160, facecolor=colour("paper"))


def render(template: str, folder: Path | None = None, **context: object) -> str:
    """Fill a template; everything that is not markup is escaped.

    Args:
        template: File name of the template.
        folder: Where it lies, or None for this package's own. It may extend this package's.
        **context: What the template names.
    """
    own = jinja2.PackageLoader("gb_keras", "stages/templates")
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([own, *([jinja2.FileSystemLoader(folder)] if folder else [])]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, decimal=decimal)
    return environment.get_template(template).render(palette=PALETTE, **context)


def percent(share: float | None) -> str:
    """A share as a percentage.

    Example:
        >>> percent(0.98765), percent(None)
        ('98.8', 'n/a')
    """
    return UNKNOWN if share is None else f"{100 * share:.1f}"


def decimal(value: float | None) -> str:
    """A number with three digits after the point.

    Example:
        >>> decimal(0.98765), decimal(None)
        ('0.988', 'n/a')
    """
    return UNKNOWN if value is None else f"{value:.3f}"
