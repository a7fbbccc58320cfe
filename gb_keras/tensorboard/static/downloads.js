/** Tables as files: what the current view shows, as CSV or JSON. */

import { table } from "./api.js";
import { fileName } from "./dom.js";

/** Hand a text to the browser as a file. */
function save(text, type, name) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  // The download reads the address a little later; then the memory is given back.
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

function cell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  // A spreadsheet would run a text that starts like a formula.
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function toCsv(columns, rows) {
  return (
    [columns, ...rows.map((row) => columns.map((column) => row[column]))]
      .map((row) => row.map(cell).join(","))
      .join("\r\n") + "\r\n"
  );
}

/** The views whose tables the page has itself; the others' come from the server. */
const LOCAL = {
  compare(app) {
    const columns = [
      "run",
      "statistic",
      "step",
      "bin",
      "norm_from",
      "norm_to",
      "density",
      "weight",
    ];
    const rows = app.views.compare.loaded.flatMap(({ run, statistic, series }) =>
      series.steps.flatMap((step, index) =>
        series.density[index].map((density, bin) => ({
          run,
          statistic: statistic.name,
          step,
          bin,
          norm_from: bin / series.bins,
          norm_to: (bin + 1) / series.bins,
          density,
          weight: series.weights[index]?.[bin],
        })),
      ),
    );
    return { columns, rows };
  },
  health(app) {
    const columns = ["severity", "kind", "title", "text", "advice", "classes"];
    const rows = (app.views.health.answer?.findings ?? []).map((finding) => ({
      ...finding,
      classes: (finding.classes ?? []).map((entry) => entry.class).join(" "),
    }));
    return { columns, rows };
  },
};

/**
 * Download the table of the current view.
 *
 * @param {Object} app
 * @param {"csv"|"json"} format
 */
export async function downloadTable(app, format) {
  const view = app.state.get("view");
  const type = format === "csv" ? "text/csv;charset=utf-8" : "application/json";
  if (view in LOCAL) {
    const { columns, rows } = LOCAL[view](app);
    save(
      format === "csv" ? toCsv(columns, rows) : JSON.stringify(rows),
      type,
      `${fileName(view, ...app.fileParts())}.${format}`,
    );
    return;
  }
  const name = view === "classes" ? "classes" : "series";
  const parameters = { run: app.run.run, statistic: app.statistic.name, table: name, format };
  if (name === "classes") parameters.step = app.state.get("step");
  save(await table(parameters), type, `${fileName(name, ...app.fileParts())}.${format}`);
}
