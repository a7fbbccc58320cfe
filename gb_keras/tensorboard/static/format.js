/** Numbers as text: short in tables, exact in tooltips. */

const integers = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/** Whether there is a number: the server sends null for what is not logged or not finite. */
export function known(value) {
  return value !== null && value !== undefined && Number.isFinite(value);
}

/** Three significant digits, or a dash where there is no number. */
export function short(value) {
  if (!known(value)) return "–";
  return (value < 0 ? "−" : "") + digits(Math.abs(value));
}

/** Two decimals, for columns of numbers of about the same size. */
export function fixed(value) {
  if (!known(value)) return "–";
  const size = Math.abs(value).toFixed(2);
  return (value < 0 && Number(size) > 0 ? "−" : "") + size;
}

function digits(size) {
  if (size === 0) return "0";
  if (size >= 1e6 || size < 1e-3) return size.toExponential(1).replace("e+", "e");
  if (size >= 1000) return integers.format(size);
  return String(Number(size.toPrecision(3)));
}

/** All digits that tell something. */
export function exact(value) {
  if (!known(value)) return "no value";
  if (Number.isInteger(value)) return integers.format(value);
  return String(Number(value.toPrecision(7)));
}

export function integer(value) {
  return known(value) ? integers.format(value) : "–";
}

export function percent(value) {
  if (!known(value)) return "–";
  const hundredth = value * 100;
  return `${Number(hundredth.toFixed(Math.abs(hundredth) >= 10 ? 0 : 1))}%`;
}
