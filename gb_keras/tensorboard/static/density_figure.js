/** Densities over steps, before and after balancing, or what balancing changed. */

import { normAxis, stepAxis, stepLines, subplotTitle } from "./charts.js";
import { largest, partBelow, partFrom } from "./density.js";
import { integer, percent } from "./format.js";
import { densityAxis, densityTrace, differenceAxis, differenceTrace } from "./heatmap.js";

export const DENSITY_TITLES = {
  both: "Gradient norms over steps",
  difference: "What balancing changed: after minus before",
  before: "Gradient norms over steps",
  after: "Gradient norms over steps, after balancing",
};

/** The horizontal axes of each mode, in which the chosen step is marked. */
export const stepAxes = (mode) => (mode === "both" ? ["x", "x2"] : ["x"]);

/**
 * @param {Object} look the theme
 * @param {{series: Object, after: number[][], difference: number[][], mode: string, scale: string,
 *     step: number}} options
 */
export function densityFigure(look, { series, after, difference, mode, scale, step }) {
  const { steps, bins } = series;
  const yaxis = normAxis(look);
  const xaxis = stepAxis(look, steps);
  const shapes = stepLines(look, step, stepAxes(mode));
  const summary = summarize(series);
  const margin = { l: 52, r: 70, t: 30, b: 40 };
  if (mode === "difference") {
    return {
      data: [differenceTrace({ steps, rows: difference, bins, unit: "samples per batch" })],
      layout: {
        xaxis,
        yaxis,
        shapes,
        margin,
        coloraxis: differenceAxis(look, { rows: difference, title: "samples per batch" }),
        uirevision: mode,
      },
      summary,
    };
  }
  const top = Math.max(largest(series.density), mode === "before" ? 0 : largest(after));
  const common = { steps, bins, scale, top };
  const coloraxis = densityAxis(look, { top, scale, title: "samples per batch" });
  if (mode !== "both") {
    const rows = mode === "after" ? after : series.density;
    return {
      data: [densityTrace({ ...common, rows, unit: "samples per batch" })],
      layout: { xaxis, yaxis, shapes, margin, coloraxis, uirevision: mode },
      summary,
    };
  }
  return {
    data: [
      densityTrace({ ...common, rows: series.density, unit: "samples per batch, before" }),
      densityTrace({
        ...common,
        rows: after,
        unit: "of equal weight, after",
        xaxis: "x2",
        yaxis: "y2",
      }),
    ],
    layout: {
      xaxis: { ...xaxis, domain: [0, 0.48] },
      xaxis2: { ...xaxis, domain: [0.52, 1], matches: "x", anchor: "y2" },
      yaxis,
      yaxis2: { ...yaxis, matches: "y", anchor: "x2", showticklabels: false, title: { text: "" } },
      annotations: [
        subplotTitle(look, "Before balancing", 0),
        subplotTitle(look, "After balancing (same sum)", 0.52),
      ],
      shapes,
      margin,
      coloraxis,
      uirevision: mode,
    },
    summary,
  };
}

function summarize(series) {
  const first = series.density[0];
  const last = series.density.at(-1);
  return (
    `From step ${integer(series.steps[0])} to ${integer(series.steps.at(-1))}, the share of samples with a norm below 0.1 went from ` +
    `${percent(partBelow(first, 0.1))} to ${percent(partBelow(last, 0.1))}, that of samples above 0.9 from ` +
    `${percent(partFrom(first, 0.9))} to ${percent(partFrom(last, 0.9))}.`
  );
}
