/** Arithmetic on densities: lists over bins of gradient norms, one list for each step. */

export function sum(values) {
  let total = 0;
  for (const value of values) total += value ?? 0;
  return total;
}

/** The middles of bins over [0, 1]. */
export function centres(bins) {
  return Array.from({ length: bins }, (_, index) => (index + 0.5) / bins);
}

/** Scaled to a sum of 1; all zeros stay zeros. */
export function shares(values) {
  const total = sum(values);
  return total > 0 ? values.map((value) => (value ?? 0) / total) : values.map(() => 0);
}

/**
 * What balancing makes of a density: each bin times its weight, scaled back to the same sum, since
 * the overall size of the weights is a matter of the learning rate. Weights that were not written
 * (null) change nothing.
 */
export function balance(density, weights) {
  const weighed = density.map((value, index) => (value ?? 0) * (weights?.[index] ?? 1));
  return scaledTo(weighed, density);
}

/** Scaled to the sum of another density; all zeros stay zeros. */
export function scaledTo(values, density) {
  const total = sum(values);
  const scale = total > 0 ? sum(density) / total : 0;
  return values.map((value) => (value ?? 0) * scale);
}

/** Rows of steps to rows of bins, as a heat map wants them; a missing step becomes a gap. */
export function byBin(rows, bins) {
  return Array.from({ length: bins }, (_, bin) =>
    rows.map((row) => (row ? (row[bin] ?? null) : null)),
  );
}

/** The largest number in rows, at least 0. */
export function largest(rows) {
  let most = 0;
  for (const row of rows) if (row) for (const value of row) if (value > most) most = value;
  return most;
}

/** The index of the last step at or before the wanted one; of the last step where none is wanted. */
export function indexOfStep(steps, wanted) {
  if (wanted === null) return steps.length - 1;
  let index = 0;
  for (let i = 0; i < steps.length; i += 1) if (steps[i] <= wanted) index = i;
  return index;
}

/** The index of the step that is nearest to the wanted one. */
export function nearestStep(steps, wanted) {
  let best = 0;
  for (let i = 1; i < steps.length; i += 1) {
    if (Math.abs(steps[i] - wanted) < Math.abs(steps[best] - wanted)) best = i;
  }
  return best;
}

/**
 * Places at even distances, and for each the index of the nearest step. The picture stays the same,
 * but Plotly draws even columns as one image instead of cell by cell.
 *
 * @param {number[]} steps ascending
 * @param {number} most how many places to make of uneven steps
 * @returns {{places: number[], indices: number[]}}
 */
export function evenly(steps, most) {
  const width = (steps.at(-1) - steps[0]) / (steps.length - 1);
  // The tolerance within which Plotly takes steps for even.
  const even = steps.every((step, index) => {
    return index === 0 || Math.abs(step - steps[index - 1] - width) <= width / 100;
  });
  if (even) return { places: steps, indices: steps.map((_, index) => index) };
  const places = Array.from(
    { length: most },
    (_, index) => steps[0] + ((steps.at(-1) - steps[0]) * index) / (most - 1),
  );
  let nearest = 0;
  const indices = places.map((place) => {
    while (nearest < steps.length - 1 && steps[nearest + 1] - place < place - steps[nearest])
      nearest += 1;
    return nearest;
  });
  return { places, indices };
}

/** The same distribution in another number of bins: each old bin is spread evenly over its width. */
export function rebin(values, bins) {
  if (values.length === bins) return values;
  const result = new Array(bins).fill(0);
  for (let old = 0; old < values.length; old += 1) {
    const from = (old / values.length) * bins;
    const to = ((old + 1) / values.length) * bins;
    for (let bin = Math.floor(from); bin < Math.min(bins, Math.ceil(to)); bin += 1) {
      const overlap = Math.min(to, bin + 1) - Math.max(from, bin);
      if (overlap > 0) result[bin] += ((values[old] ?? 0) * overlap) / (to - from);
    }
  }
  return result;
}

/** Exponential moving average that does not lean on its start; gaps stay gaps. */
export function smooth(values, factor) {
  let average = 0;
  let weight = 0;
  return values.map((value) => {
    if (value === null || value === undefined) return null;
    average = average * factor + value * (1 - factor);
    weight = weight * factor + (1 - factor);
    return average / weight;
  });
}

/** The part of a density below a norm; 0 of an empty one. */
export function partBelow(density, norm) {
  const total = sum(density);
  if (!(total > 0)) return 0;
  const end = norm * density.length;
  let part = 0;
  for (let bin = 0; bin < density.length; bin += 1) {
    part += (density[bin] ?? 0) * Math.max(0, Math.min(1, end - bin));
  }
  return part / total;
}

/** The part of a density from a norm on; 0 of an empty one. */
export function partFrom(density, norm) {
  return partBelow([...density].reverse(), 1 - norm);
}
