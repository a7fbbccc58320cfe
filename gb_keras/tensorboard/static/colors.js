/** Colours that people with colour-blindness tell apart, and a stable one for each run. */

/** Okabe and Ito's set, without black, which a dark page swallows. */
const RUN_COLORS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999999"];
const DASHES = ["solid", "dash", "dot", "dashdot"];

/** For counts of samples: even steps of lightness, readable in grey. */
export const DENSITY_SCALE = "Viridis";

/** For differences: blue below, orange above; the middle fades into the page. */
export function differenceScale(dark) {
  return dark
    ? [
        [0, "#7cc4f5"],
        [0.25, "#2a7fb8"],
        [0.5, "#3a3a3a"],
        [0.75, "#c06a12"],
        [1, "#ffc069"],
      ]
    : [
        [0, "#08457e"],
        [0.25, "#5ba3d9"],
        [0.5, "#f7f7f7"],
        [0.75, "#f0a04b"],
        [1, "#9c4a00"],
      ];
}

export const GROUP_COLORS = { many: "#0072b2", medium: "#009e73", few: "#e69f00" };

/** Colours of the quantities that several charts show. */
export function seriesColors(dark) {
  return dark
    ? { before: "#8fb8d8", after: "#ffa040", weight: "#b9c96a", base: "#8fb8d8", muted: "#8a8a8a" }
    : { before: "#3b6c94", after: "#d95f02", weight: "#5b7a00", base: "#3b6c94", muted: "#8a8a8a" };
}

const styles = new Map();

function checksum(text) {
  let sum = 0;
  for (let index = 0; index < text.length; index += 1)
    sum = (Math.imul(sum, 31) + text.charCodeAt(index)) | 0;
  return Math.abs(sum);
}

/**
 * Give each run a colour and a dash. The name proposes one and the next free one is taken, so that
 * a run looks the same in every session with the same runs, and never changes within one.
 */
export function assignRunStyles(names) {
  const count = RUN_COLORS.length * DASHES.length;
  const taken = new Set([...styles.values()].map((style) => style.slot));
  for (const name of [...names].sort()) {
    if (styles.has(name)) continue;
    let slot = checksum(name) % RUN_COLORS.length;
    const colorsFree = taken.size < RUN_COLORS.length;
    for (let tries = 0; tries < count && taken.has(slot); tries += 1) {
      slot = colorsFree ? (slot + 1) % RUN_COLORS.length : (slot + 1) % count;
    }
    taken.add(slot);
    styles.set(name, {
      slot,
      color: RUN_COLORS[slot % RUN_COLORS.length],
      dash: DASHES[Math.floor(slot / RUN_COLORS.length) % DASHES.length],
    });
  }
}

export function runStyle(name) {
  return styles.get(name) ?? { color: RUN_COLORS[0], dash: "solid" };
}
