/** Density before and after balancing, and the weights, at one step. */

import { makeAxis, normAxis } from "./charts.js";
import { seriesColors } from "./colors.js";
import { centres, largest, partBelow, partFrom } from "./density.js";
import { percent } from "./format.js";

/**
 * @param {Object} look the theme
 * @param {{bins: number, density: number[], after: number[], weights: ?number[], balanced: boolean,
 *     logarithmic: boolean}} options `weights` are null where they were not written
 */
export function profileFigure(look, { bins, density, after, weights, balanced, logarithmic }) {
  const colors = seriesColors(look.dark);
  const x = centres(bins);
  const top = Math.max(largest([density]), balanced ? largest([after]) : 0) || 1;
  const data = [
    {
      type: "bar",
      name: balanced ? "before" : "samples",
      x,
      y: density,
      width: 1 / bins,
      marker: { color: colors.before, opacity: 0.75, line: { width: 0 } },
      hovertemplate: "<b>%{y:,.5~g}</b> samples per batch<extra></extra>",
    },
  ];
  if (balanced) {
    data.push(
      {
        type: "scatter",
        mode: "lines",
        name: "after",
        x,
        y: after,
        line: { color: colors.after, width: 2, shape: "hvh" },
        hovertemplate: "<b>%{y:,.5~g}</b> after balancing<extra></extra>",
      },
      {
        type: "scatter",
        mode: "lines",
        name: "weight",
        x,
        y: weights ?? [],
        yaxis: "y2",
        line: { color: colors.weight, width: 2, dash: "dot" },
        hovertemplate: "weight <b>%{y:.5~g}</b><extra></extra>",
      },
    );
  }
  const most = balanced ? Math.max(...(weights ?? []), 1) : 1;
  return {
    data,
    layout: {
      barmode: "overlay",
      bargap: 0,
      showlegend: true,
      // On a narrow card the legend would run below the mode bar.
      margin: { l: 52, r: balanced ? 46 : 14, t: look.width < 440 ? 48 : 30, b: 40 },
      // A thin bar or line is hard to hit: any place above or below it tells.
      hovermode: "x unified",
      xaxis: normAxis(look, "gradient norm", { unifiedhovertitle: { text: "norm %{x:.3f}" } }),
      yaxis: makeAxis(look, "samples per batch", {
        // Powers of ten alone: Plotly's digits between them do not say of which.
        ...(logarithmic
          ? { type: "log", dtick: 1, range: [Math.log10(top) - 3, Math.log10(top) + 0.1] }
          : { type: "linear", range: [0, top * 1.06] }),
      }),
      yaxis2: makeAxis(look, "weight", {
        overlaying: "y",
        side: "right",
        range: [0, most * 1.15],
        showgrid: false,
        zeroline: false,
        tickmode: "auto",
        nticks: 5,
        visible: balanced,
      }),
      uirevision: `${logarithmic}`,
    },
    summary: `${percent(partBelow(density, 0.1))} of the samples have a norm below 0.1, ${percent(partFrom(density, 0.9))} above 0.9.`,
  };
}
