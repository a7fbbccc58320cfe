"""The report of a search: the best trials, and Optuna's own plots, as one page."""

import warnings
from typing import Any

import markupsafe
import optuna
import plotly.colors
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
# From what is seen on light and on dark paper to what stands out on both.
_SCALE = [[0, look.PALETTE["muted"][1]], [1, look.colour("error")]]


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
    figures = [
        {
            "heading": "How the search went",
            "note": "Each point is a trial that has come to its end.",
            "figure": _html(visualization.plot_optimization_history(study, target_name=_NAME), 380),
        },
        {
            "heading": "How the trials went",
            "note": "On validation data after each epoch; those that were pruned end early.",
            "figure": _html(_epochs(study), 420),
        },
        {
            "heading": "What goes together",
            "note": "A line for each trial, the best in orange. None: the loss has no such option.",
            "figure": _html(_together(study), 440),
        },
        {
            "heading": "Option by option",
            "note": "Trials that were trained to their end; orange points came later.",
            "figure": _html(_slices(study, len(trials)), 440),
        },
    ]
    # Nothing explains a difference that is not there.
    if len({trial.value for trial in complete}) > 1:
        figures.append(
            {
                "heading": "What matters",
                "note": "Which share of the difference between trials each option explains. Rough, "
                "below some tens of trials.",
                "figure": _html(_importances(study), 320),
            }
        )
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


def _epochs(study: optuna.Study) -> plotly.graph_objects.Figure:
    figure = visualization.plot_intermediate_values(study)
    return figure.update_layout(xaxis_title="epoch", yaxis_title=_NAME)


def _together(study: optuna.Study) -> plotly.graph_objects.Figure:
    figure = visualization.plot_parallel_coordinate(study, target_name=_NAME)
    for trace in figure.data:
        if trace.mode == "lines":
            # The first axis is what was searched for, from the least to the greatest.
            trace.line.color = plotly.colors.sample_colorscale(_SCALE, [trace.y[0]])[0]
        else:
            trace.marker.colorscale = _SCALE
    return figure


def _slices(study: optuna.Study, num_trials: int) -> plotly.graph_objects.Figure:
    figure = visualization.plot_slice(study, target_name=_NAME)
    figure.update_traces(
        marker={"colorscale": _SCALE, "cmin": 0, "cmax": num_trials, "showscale": False}
    )
    # Many small plots side by side have place for few labels.
    figure.for_each_xaxis(
        lambda axis: axis.update({"dtick": 1} if axis.type == "log" else {"nticks": 4})
    )
    return figure.update_xaxes(selector={"type": "category"}, tickangle=-90)


def _importances(study: optuna.Study) -> plotly.graph_objects.Figure:
    with warnings.catch_warnings():
        # Of options that few trials have had, which the page says itself.
        warnings.simplefilter("ignore", UserWarning)
        return visualization.plot_param_importances(study, target_name=_NAME)


def _html(figure: plotly.graph_objects.Figure, height: int) -> markupsafe.Markup:
    """A figure as an element of the page, in its colours."""
    figure.update_layout(
        title=None,
        width=None,
        height=height,
        margin={"t": 40, "r": 30, "b": 60},
        template="plotly_white",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif"},
    )
    text = plotly.io.to_html(
        figure,
        full_html=False,
        include_plotlyjs=False,
        config={"displayModeBar": False, "responsive": True},
    )
    return markupsafe.Markup(text)
