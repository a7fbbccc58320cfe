"""The report of a search: the best trials, and Optuna's own plots, as one page."""

import warnings
from collections.abc import Callable
from typing import Any

import markupsafe
import optuna
import plotly.graph_objects
import plotly.io
import plotly.offline
from optuna import visualization
from optuna.trial import TrialState

from gb_keras.stages import report_figure as look
from gb_keras.stages.search_plan import Plan
from gb_keras.stages.search_space import METRIC

_NAME = METRIC.removeprefix("val_").replace("_", " ")
_ROWS = 10
# Heading, note, plot, height in pixels.
_PLOTS: tuple[tuple[str, str, Callable[..., Any], int], ...] = (
    (
        "How the search went",
        "Each point is a trial that was trained to its end.",
        visualization.plot_optimization_history,
        380,
    ),
    (
        "How the trials went",
        "Balanced accuracy on validation data after each epoch; those that were pruned end early.",
        visualization.plot_intermediate_values,
        420,
    ),
    (
        "What goes together",
        "A line for each trial; dark ones are the best. Drag along an axis to choose some.",
        visualization.plot_parallel_coordinate,
        440,
    ),
    (
        "Option by option",
        "Balanced accuracy over the values of each option; dark points came later.",
        visualization.plot_slice,
        400,
    ),
    (
        "What matters",
        "How much of the difference between trials each option explains. Rough, below some tens of "
        "trials.",
        visualization.plot_param_importances,
        320,
    ),
)


def page(study: optuna.Study, plan: Plan, result: dict[str, Any]) -> str:
    """The page of a search, which needs nothing but itself.

    Args:
        study: The study, open.
        plan: What the search was to do.
        result: What `search` returns.
    """
    trials = study.get_trials(deepcopy=False)
    complete = sorted(
        (trial for trial in trials if trial.state == TrialState.COMPLETE),
        key=lambda trial: trial.value or 0.0,
        reverse=True,
    )
    figures = []
    for heading, note, plot, height in _PLOTS:
        # Of few trials, importances are known poorly, and Optuna warns of it.
        if plot is visualization.plot_param_importances and len({t.value for t in complete}) < 2:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            named = {} if plot is visualization.plot_intermediate_values else {"target_name": _NAME}
            figure = plot(study, **named)
        figures.append({"heading": heading, "note": note, "figure": _html(figure, height)})
    return look.render(
        "search.html.j2",
        plan=plan,
        result=result,
        names=[each.name for each in plan.searches],
        rows=[
            {"number": trial.number, "value": trial.value, "params": trial.params}
            for trial in complete[:_ROWS]
        ],
        failures=[
            {"number": trial.number, "error": trial.user_attrs.get("error", "")}
            for trial in trials
            if trial.state == TrialState.FAIL
        ],
        figures=figures,
        plotly=markupsafe.Markup(plotly.offline.get_plotlyjs()),
    )


def _html(figure: plotly.graph_objects.Figure, height: int) -> markupsafe.Markup:
    """A figure as an element of the page, in its colours."""
    figure.update_layout(
        title=None,
        height=height,
        margin={"t": 30},
        template="plotly_white",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif"},
    )
    text = plotly.io.to_html(
        figure,
        full_html=False,
        include_plotlyjs=False,
        config={"displaylogo": False, "responsive": True},
    )
    return markupsafe.Markup(text)
