/** Losses, smoothed, and below them the share of wrong labels and how many samples were kept out. */

import { makeAxis, stepLines } from "./charts.js";
import { seriesColors } from "./colors.js";
import { smooth } from "./density.js";
import { integer, known, percent, short } from "./format.js";

const has = (values) => values?.some(known);

/** Whether there is anything to draw. */
export function hasLosses(series) {
  return has(series.loss) || has(series.base_loss) || has(series.skipped);
}

/** What stands where the losses would, between the panels and the top. */
const noLosses = (look, bottom) => ({
  text: "No loss was finite in any of these steps.",
  xref: "paper",
  yref: "paper",
  x: 0.5,
  y: (bottom + 1) / 2,
  showarrow: false,
  font: { size: 14, color: look.text },
});

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
  const most = (values) => Math.max(0, ...(values ?? []).map((value) => value ?? 0));
  // From the bottom up, below the losses.
  const panels = [
    {
      name: "skipped",
      values: series.skipped,
      line: { color: colors.muted, width: 1.5, shape: "hv" },
      hovertemplate: "<b>%{y:,}</b> samples skipped<extra></extra>",
      axis: { range: [0, Math.max(1, most(series.skipped) * 1.1)] },
    },
    {
      name: "noise",
      values: series.noise_rate,
      line: { color: colors.weight, width: 2 },
      hovertemplate: "<b>%{y:.1%}</b> of the labels wrong, estimated<extra></extra>",
      axis: { range: [0, Math.max(0.1, most(series.noise_rate) * 1.1)], tickformat: ".0%" },
    },
  ].filter((panel) => has(panel.values));
  const height = panels.length > 1 ? 0.17 : 0.22;
  const gap = panels.length > 1 ? 0.09 : 0.12;
  const axes = {};
  for (const [index, { name, values, axis, ...trace }] of panels.entries()) {
    const bottom = index * (height + gap);
    axes[`yaxis${index + 2}`] = makeAxis(look, name, {
      domain: [bottom, bottom + height],
      nticks: 3,
      rangemode: "tozero",
      ...axis,
    });
    data.push({
      type: "scatter",
      mode: series.steps.length > 1 ? "lines" : "markers",
      name,
      showlegend: false,
      x: series.steps,
      y: values,
      yaxis: `y${index + 2}`,
      fill: "tozeroy",
      ...trace,
    });
  }
  const none = !has(series.base_loss) && !has(series.loss);
  const last = series.base_loss?.at(-1) ?? series.loss?.at(-1);
  const noise = series.noise_rate?.at(-1);
  const skipped = most(series.skipped);
  return {
    data,
    layout: {
      showlegend: true,
      margin: { l: 60, r: 14, t: 30, b: 40 },
      hovermode: "x unified",
      hoversubplots: "axis",
      xaxis: makeAxis(look, "step", {
        anchor: panels.length ? "y2" : "y",
        zeroline: false,
        unifiedhovertitle: { text: "step %{x:,}" },
      }),
      yaxis: makeAxis(look, "loss", {
        domain: [panels.length * (height + gap), 1],
        zeroline: false,
        nticks: 6,
      }),
      ...axes,
      shapes: stepLines(look, step),
      annotations: none ? [noLosses(look, panels.length * (height + gap))] : [],
      uirevision: "loss",
    },
    summary:
      `The loss is ${short(last)} at step ${integer(series.steps.at(-1))}; ${skipped ? `up to ${short(skipped)}` : "no"} samples were skipped.` +
      (known(noise) ? ` Estimated share of wrong labels: ${percent(noise)}.` : ""),
  };
}
