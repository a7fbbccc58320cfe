/** Losses, smoothed, and below them how many samples were kept out. */

import { makeAxis, stepLines } from "./charts.js";
import { seriesColors } from "./colors.js";
import { smooth } from "./density.js";
import { integer, known, short } from "./format.js";

const has = (values) => values?.some(known);

/** Whether there is anything to draw. */
export function hasLosses(series) {
  return has(series.loss) || has(series.base_loss) || has(series.skipped);
}

/**
 * @param {Object} look the theme
 * @param {{series: Object, factor: number, balanced: boolean, step: number}} options `factor` in
 *     [0, 1) of the moving average
 */
export function lossFigure(look, { series, factor, balanced, step }) {
  const colors = seriesColors(look.dark);
  const data = [];
  const add = (name, values, color) => {
    if (!has(values)) return;
    const line = {
      type: "scatter",
      mode: series.steps.length > 1 ? "lines" : "markers",
      x: series.steps,
    };
    if (factor > 0) {
      data.push({
        ...line,
        y: values,
        line: { color, width: 1 },
        opacity: 0.3,
        hoverinfo: "skip",
        showlegend: false,
      });
    }
    data.push({
      ...line,
      name,
      y: smooth(values, factor),
      customdata: values,
      line: { color, width: 2 },
      hovertemplate: `%{fullData.name} <b>%{customdata:.5~g}</b>${factor > 0 ? ", smoothed %{y:.5~g}" : ""}<extra></extra>`,
    });
  };
  add("base loss", series.base_loss, colors.before);
  if (balanced || !has(series.base_loss)) add("balanced loss", series.loss, colors.after);
  const skipped = has(series.skipped);
  if (skipped) {
    data.push({
      type: "scatter",
      mode: series.steps.length > 1 ? "lines" : "markers",
      name: "skipped",
      showlegend: false,
      x: series.steps,
      y: series.skipped,
      yaxis: "y2",
      line: { color: colors.muted, width: 1.5, shape: "hv" },
      fill: "tozeroy",
      hovertemplate: "<b>%{y:,}</b> samples skipped<extra></extra>",
    });
  }
  const most = skipped ? Math.max(...series.skipped.map((value) => value ?? 0)) : 0;
  const last = series.base_loss?.at(-1) ?? series.loss?.at(-1);
  return {
    data,
    layout: {
      showlegend: true,
      margin: { l: 60, r: 14, t: 30, b: 40 },
      hovermode: "x unified",
      hoversubplots: "axis",
      xaxis: makeAxis(look, "step", {
        anchor: skipped ? "y2" : "y",
        zeroline: false,
        unifiedhovertitle: { text: "step %{x:,}" },
      }),
      yaxis: makeAxis(look, "loss", {
        domain: skipped ? [0.34, 1] : [0, 1],
        zeroline: false,
        nticks: 6,
      }),
      ...(skipped
        ? {
            yaxis2: makeAxis(look, "skipped", {
              domain: [0, 0.22],
              range: [0, Math.max(1, most * 1.1)],
              nticks: 3,
              rangemode: "tozero",
            }),
          }
        : {}),
      shapes: stepLines(look, step),
      uirevision: "loss",
    },
    summary: `The loss is ${short(last)} at step ${integer(series.steps.at(-1))}; ${most ? `up to ${short(most)}` : "no"} samples were skipped.`,
  };
}
