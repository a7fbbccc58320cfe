/** One column for all classes, in order: the shape of the tail. */

import { chartText, fitText, makeAxis } from "./charts.js";
import { GROUP_COLORS } from "./colors.js";
import { integer, short } from "./format.js";

const NAMED = 24; // as many bars as can carry their names

/**
 * @param {Object} look the theme
 * @param {{ranking: Object, logarithmic: boolean, label: string, orderLabel: string, chosen: number|null}} options
 */
export function rankingFigure(look, { ranking, logarithmic, label, orderLabel, chosen }) {
  const { points } = ranking;
  const bucketed = points.some((point) => point.num_classes > 1);
  const names = points.map((point) => fitText(point.name, 76));
  const named = !bucketed && points.length <= NAMED;
  const slanted = named && points.length > 6 && names.some((name) => name.length > 3);
  const axis = logarithmic ? logarithmicAxis(points) : { nticks: 6 };
  const zeros = logarithmic && points.some((point) => point.min === 0);
  const data = [];
  if (bucketed) {
    const x = points.map(middle);
    const line = {
      type: "scatter",
      mode: "lines",
      x,
      line: { width: 0 },
      hoverinfo: "skip",
      showlegend: false,
    };
    data.push(
      // A logarithmic axis has no 0: there the band goes down to the axis.
      { ...line, y: points.map((point) => (zeros && point.min === 0 ? 10 ** axis.range[0] : point.min)) },
      {
        ...line,
        y: points.map((point) => point.max),
        fill: "tonexty",
        fillcolor: look.dark ? "rgba(200,200,200,0.22)" : "rgba(110,110,110,0.2)",
      },
    );
  }
  for (const group of ["many", "medium", "few"]) {
    const members = points
      .map((point, index) => ({ ...point, index }))
      .filter((point) => point.group === group);
    if (!members.length) continue;
    const total = members.reduce((sum, point) => sum + point.num_classes, 0);
    data.push({
      type: bucketed ? "scatter" : "bar",
      ...(bucketed
        ? { mode: "markers" }
        : { width: members.length && points.length > 60 ? 1 : 0.8 }),
      name: `${group} (${integer(total)})`,
      x: members.map(middle),
      y: members.map((point) => point.mean),
      customdata: members.map((point) => [
        point.index,
        point.num_classes > 1
          ? `${integer(point.num_classes)} classes, ranks ${integer(point.rank + 1)} to ${integer(point.rank + point.num_classes)}`
          : `${chartText(point.name)}, rank ${integer(point.rank + 1)}`,
        point.num_classes > 1 ? `mean, from ${short(point.min)} to ${short(point.max)}` : "",
      ]),
      marker: bucketed
        ? { color: GROUP_COLORS[group], size: 4 }
        : {
            color: GROUP_COLORS[group],
            line: {
              color: members.map((point) =>
                point.class === chosen && chosen !== null ? look.accent : "rgba(0,0,0,0)",
              ),
              width: members.map((point) => (point.class === chosen && chosen !== null ? 2 : 0)),
            },
          },
      hovertemplate: "%{customdata[1]}<br><b>%{y:,.5~g}</b> %{customdata[2]}<extra></extra>",
    });
  }
  const values = points.map((point) => point.mean).filter((value) => value !== null);
  return {
    data,
    layout: {
      showlegend: true,
      barmode: "overlay",
      bargap: 0.1,
      margin: { l: 56, r: 14, t: 30, b: slanted ? 66 : 40 },
      xaxis: makeAxis(look, named ? "" : `rank by ${orderLabel.toLowerCase()}`, {
        showgrid: false,
        zeroline: false,
        ...(named
          ? { tickvals: points.map(middle), ticktext: names, tickangle: slanted ? -40 : 0 }
          : {}),
      }),
      yaxis: makeAxis(
        look,
        `${label.toLowerCase()}${zeros ? " (0 is not drawn)" : ""}`,
        axis,
      ),
      uirevision: `${ranking.column} ${logarithmic} ${named}`,
    },
    summary: `${label} of all classes, ordered by ${orderLabel.toLowerCase()}: from ${short(values[0])} at the first to ${short(values.at(-1))} at the last rank.`,
  };
}

/** Bars on a logarithmic axis have no natural foot: it starts a little below the smallest value. */
function logarithmicAxis(points) {
  const drawn = points.flatMap((point) => [point.min, point.mean]).filter((value) => value > 0);
  const low = Math.log10(Math.min(...drawn)) - 0.2;
  const high = Math.log10(Math.max(...points.map((point) => point.max))) + 0.1;
  return { type: "log", range: [low, high], ...(high - low > 1.5 ? { dtick: 1 } : {}) };
}

/** Ranks count from 1, and a bucket stands at the middle of its ranks. */
function middle(point) {
  return point.rank + (point.num_classes + 1) / 2;
}
