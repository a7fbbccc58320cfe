/** How classes differ at one step: a row for each, or quantiles where there are too many. */

import { chartText, fitText, makeAxis, normAxis, subplotTitle } from "./charts.js";
import { seriesColors } from "./colors.js";
import { centres, largest, shares } from "./density.js";
import { integer, percent } from "./format.js";
import { colouring, densityAxis } from "./heatmap.js";

const TICKS = 24; // names that stand below each other without touching
const LARGE = 18; // as many of them may be as large as elsewhere

/**
 * @param {Object} look the theme
 * @param {{rows: Array, bins: number, scale: string}} options rows from the bottom up
 */
export function classHeatmap(look, { rows, bins, scale }) {
  const every = Math.ceil(rows.length / TICKS);
  const ticks = rows
    .map((_, index) => index)
    .filter((index) => (rows.length - 1 - index) % every === 0);
  const names = rows.map((row) => chartText(row.name));
  const z = rows.map((row) => shares(row.density));
  const top = largest(z);
  const { map } = colouring(scale, top);
  return {
    data: [
      {
        type: "heatmap",
        x: centres(bins),
        y: rows.map((_, index) => index),
        z: z.map((row) => row.map(map)),
        customdata: rows.map((row, index) =>
          row.density.map((value, bin) => [names[index], z[index][bin], value]),
        ),
        coloraxis: "coloraxis",
        hovertemplate:
          "%{customdata[0]}<br>norm %{x:.3f}<br><b>%{customdata[1]:.2%}</b> of the class, %{customdata[2]:.4~g} samples per batch<extra></extra>",
      },
    ],
    layout: {
      margin: { l: 90, r: 70, t: 30, b: 40 },
      coloraxis: densityAxis(look, {
        top,
        scale,
        title: "share of the class",
        label: percent,
        tickformat: ".0%",
      }),
      xaxis: normAxis(look),
      yaxis: makeAxis(look, "", {
        showgrid: false,
        zeroline: false,
        tickfont: { size: rows.length > LARGE ? 9 : 11, color: look.muted },
        tickvals: ticks,
        ticktext: ticks.map((index) => fitText(rows[index].name, 78)),
      }),
    },
    summary: `The share of samples at each norm for ${rows.length} classes.`,
  };
}

/** How the classes differ where there are too many to show each: bands that hold most of them. */
export function quantileFigure(look, step) {
  const { levels, share } = step.quantiles;
  const x = centres(step.bins);
  const color = seriesColors(look.dark).before;
  const data = [];
  const pairs = Math.floor(levels.length / 2);
  const label = (level) => `${Math.round(level * 100)}%`;
  for (let index = 0; index < pairs; index += 1) {
    const other = levels.length - 1 - index;
    const line = { type: "scatter", mode: "lines", x, line: { color, width: 0 } };
    data.push(
      {
        ...line,
        y: share[index],
        showlegend: false,
        hovertemplate: `norm %{x:.3f}<br>${label(levels[index])} of classes below <b>%{y:.3~%}</b><extra></extra>`,
      },
      {
        ...line,
        y: share[other],
        fill: "tonexty",
        fillcolor: look.dark
          ? `rgba(143,184,216,${0.18 + 0.2 * index})`
          : `rgba(59,108,148,${0.18 + 0.2 * index})`,
        name: `${label(levels[index])} to ${label(levels[other])} of classes`,
        hovertemplate: `norm %{x:.3f}<br>${label(levels[other])} of classes below <b>%{y:.3~%}</b><extra></extra>`,
      },
    );
  }
  if (levels.length % 2) {
    data.push({
      type: "scatter",
      mode: "lines",
      x,
      y: share[pairs],
      name: "median class",
      line: { color, width: 2 },
      hovertemplate: "norm %{x:.3f}<br>median class <b>%{y:.3~%}</b><extra></extra>",
    });
  }
  return {
    data,
    layout: {
      showlegend: true,
      margin: { l: 60, r: 14, t: 30, b: 40 },
      xaxis: normAxis(look),
      yaxis: makeAxis(look, "share of the class", { tickformat: ".0~%", rangemode: "tozero" }),
    },
    summary: `Quantiles over ${integer(step.num_classes)} classes of the share of samples at each norm.`,
  };
}

/** Bands over all classes and, beside them, a row for each of the classes that were written. */
export function bandsAndRowsFigure(look, { step, rows, scale }) {
  const bands = quantileFigure(look, step);
  if (!rows.length) return bands;
  const map = classHeatmap(look, { rows, bins: step.bins, scale });
  return {
    data: [...bands.data, { ...map.data[0], xaxis: "x2", yaxis: "y2" }],
    layout: {
      ...bands.layout,
      margin: { l: 60, r: 70, t: 30, b: 75 },
      // Below its own half, where no curve runs through it.
      legend: {
        orientation: "h",
        x: 0,
        y: -0.16,
        yanchor: "top",
        bgcolor: "rgba(0,0,0,0)",
        font: { size: 12, color: look.text },
      },
      coloraxis: map.layout.coloraxis,
      xaxis: { ...bands.layout.xaxis, domain: [0, 0.4] },
      xaxis2: { ...map.layout.xaxis, domain: [0.57, 1], anchor: "y2" },
      yaxis2: { ...map.layout.yaxis, anchor: "x2" },
      annotations: [
        subplotTitle(look, "All classes", 0),
        subplotTitle(look, `The ${rows.length} that were written`, 0.57),
      ],
    },
    summary: `${bands.summary} ${map.summary}`,
  };
}
