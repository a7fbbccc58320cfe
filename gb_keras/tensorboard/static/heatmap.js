/** The traces of heat maps of densities over steps, and their colour bars. */

import { DENSITY_SCALE, differenceScale } from "./colors.js";
import { byBin, centres, largest } from "./density.js";
import { short } from "./format.js";

const DECADES = 3; // below a thousandth of the most crowded place, a logarithmic scale shows nothing

/** For select elements. The square root shows thin places and still tells a half from a whole. */
export const SCALES = [
  { value: "sqrt", label: "square root" },
  { value: "linear", label: "linear" },
  { value: "log", label: "logarithmic" },
];

/** How values become colours: the mapping, its ends, and the values that the colour bar names. */
export function colouring(scale, top) {
  const most = top || 1;
  if (scale === "log") {
    const high = Math.log10(most);
    const floor = most * 10 ** -DECADES;
    const ticks = [];
    for (let power = Math.ceil(high - DECADES); power <= high; power += 1) ticks.push(10 ** power);
    return { map: (value) => Math.log10(Math.max(value, floor)), low: high - DECADES, high, ticks };
  }
  if (scale === "sqrt") {
    const map = (value) => Math.sqrt(Math.max(value, 0));
    return { map, low: 0, high: map(most), ticks: niceTicks(most, map) };
  }
  return { map: (value) => value, low: 0, high: most, ticks: null };
}

/** Round numbers from 0 to the top, left out where they would stand too close together. */
function niceTicks(most, map) {
  const power = Math.floor(Math.log10(most));
  const ticks = [0];
  let last = 0;
  for (const exponent of [power - 2, power - 1, power]) {
    for (const digit of [1, 2, 5]) {
      const value = digit * 10 ** exponent;
      if (value <= most && (map(value) - last) / map(most) > 0.12) {
        ticks.push(value);
        last = map(value);
      }
    }
  }
  return ticks;
}

/**
 * A heat map: x is the step, y the norm.
 *
 * @param {{steps: number[], rows: Array, bins: number, scale: string, coloraxis: string,
 *     unit: string, top: number}} options `top` is the largest value of all maps on the same scale
 */
export function densityTrace({
  steps,
  rows,
  bins,
  scale,
  coloraxis = "coloraxis",
  unit,
  top,
  ...rest
}) {
  const values = byBin(rows, bins);
  const { map } = colouring(scale, top);
  return {
    type: "heatmap",
    x: steps,
    y: centres(bins),
    z: values.map((row) => row.map((value) => (value === null ? null : map(value)))),
    customdata: values,
    coloraxis,
    hovertemplate: `step %{x:,}<br>norm %{y:.3f}<br><b>%{customdata:,.4~g}</b> ${unit}<extra></extra>`,
    hoverongaps: false,
    ...rest,
  };
}

/** The colour axis that belongs to density traces with the same `top`. */
export function densityAxis(look, { top, scale, title, label = short, tickformat, ...bar }) {
  const { map, low, high, ticks } = colouring(scale, top);
  return {
    colorscale: DENSITY_SCALE,
    cmin: low,
    cmax: high,
    colorbar: {
      ...colorbar(look, title),
      ...(ticks ? { tickvals: ticks.map(map), ticktext: ticks.map(label) } : { tickformat }),
      ...bar,
    },
  };
}

function colorbar(look, title) {
  return {
    thickness: 10,
    outlinewidth: 0,
    xpad: 6,
    ypad: 0,
    len: 1,
    nticks: 6,
    tickfont: { size: 11, color: look.muted },
    title: { text: title, side: "right", font: { size: 12, color: look.muted } },
  };
}

/** A heat map of differences around 0. */
export function differenceTrace({ steps, rows, bins, unit, coloraxis = "coloraxis", ...rest }) {
  const values = byBin(rows, bins);
  return {
    type: "heatmap",
    x: steps,
    y: centres(bins),
    z: values,
    coloraxis,
    hovertemplate: `step %{x:,}<br>norm %{y:.3f}<br><b>%{z:+,.4~g}</b> ${unit}<extra></extra>`,
    hoverongaps: false,
    ...rest,
  };
}

export function differenceAxis(look, { rows, title, ...bar }) {
  const most = largest(rows.map((row) => row?.map((value) => Math.abs(value ?? 0)))) || 0.01;
  return {
    colorscale: differenceScale(look.dark),
    cmin: -most,
    cmax: most,
    colorbar: { ...colorbar(look, title), ...bar },
  };
}
