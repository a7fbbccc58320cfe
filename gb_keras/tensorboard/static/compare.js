/** Compare: densities of several runs side by side, on the same axes and colours. */

import { get } from "./api.js";
import {
  Chart,
  FITTING,
  chartText,
  fitText,
  makeAxis,
  normAxis,
  stepAxis,
  subplotTitle,
} from "./charts.js";
import { assignRunStyles, runStyle } from "./colors.js";
import {
  balance,
  byBin,
  centres,
  evenly,
  largest,
  nearestStep,
  partBelow,
  rebin,
  shares,
} from "./density.js";
import { fill, h, nameElement, select, shorten } from "./dom.js";
import { percent } from "./format.js";
import { densityAxis, densityTrace, differenceAxis, differenceTrace } from "./heatmap.js";
import { runKey } from "./state.js";

const MAX_STEPS = 80; // enough for small pictures
const COLUMNS = 120; // of a small picture whose steps are uneven: about one for two pixels
const FIRST = 6; // runs chosen when nobody has chosen yet
const PANEL = { wide: 300, narrow: 210, height: 190 };
const FEW = 6; // runs that get wide panels

export class Compare {
  #app;
  #listed = null;
  #loaded = [];

  constructor(app) {
    this.#app = app;
    this.filter = h("input", {
      type: "search",
      "data-testid": "compare-filter",
      placeholder: "Filter runs",
      "aria-label": "Filter runs",
      on: { input: () => this.#filter() },
    });
    this.list = h("ul", { class: "runs", "data-testid": "compare-runs" });
    this.noMatch = h("p", { class: "hint", role: "status", hidden: true }, "No run has this name.");
    const choose = (label, pick) =>
      h(
        "button",
        { type: "button", class: "quiet", on: { click: () => this.#choose(pick()) } },
        label,
      );
    this.what = select("compare-what", "Density", (value) => app.set({ what: value }));
    this.a = select("compare-a", "Run", (value) => app.set({ a: value }), { wide: true });
    this.b = select("compare-b", "minus", (value) => app.set({ b: value }), { wide: true });
    this.panels = new Chart({
      id: "compare-chart",
      title: "Share of samples by norm, over steps",
      height: 260,
    });
    this.lines = new Chart({
      id: "compare-lines-chart",
      title: "At the last step of each run",
      hint: "colours as in the list",
      height: 320,
    });
    this.difference = new Chart({
      id: "compare-difference-chart",
      title: "Difference of two runs",
      height: 320,
      tools: [this.a.root, this.b.root],
    });
    this.failed = h("ul", {
      class: "banner",
      role: "status",
      "data-testid": "compare-failed",
      hidden: true,
    });
    this.element = h(
      "div",
      { class: "view compare" },
      h(
        "aside",
        { class: "card run-list", "aria-label": "Runs to compare" },
        h(
          "div",
          { class: "run-tools" },
          this.filter,
          choose("All", () => this.#visible()),
          choose("None", () => []),
        ),
        this.list,
        this.noMatch,
        h("div", { class: "run-tools" }, this.what.root),
      ),
      h(
        "div",
        { class: "compare-main" },
        this.failed,
        this.panels.element,
        h("div", { class: "row row-halves" }, this.lines.element, this.difference.element),
      ),
    );
  }

  /** For downloads: the runs and their series. */
  get loaded() {
    return this.#loaded;
  }

  #runs() {
    return this.#app.runs.filter((run) => run.statistics.length);
  }

  #chosen() {
    const runs = this.#runs();
    let keys = null;
    try {
      keys = JSON.parse(this.#app.state.get("runs") || "null");
    } catch {
      // A link that was cut: start as if nothing was chosen.
    }
    // The run that is being viewed comes first.
    const { run: viewed } = this.#app;
    const sorted = [viewed, ...runs.filter((run) => run.run !== viewed.run)];
    if (!Array.isArray(keys)) return sorted.slice(0, FIRST);
    return sorted.filter((run) => keys.includes(runKey(run.run)));
  }

  #visible() {
    return [...this.list.children].filter((item) => !item.hidden).map((item) => item.dataset.key);
  }

  #choose(keys) {
    this.#app.set({ runs: JSON.stringify(keys) });
  }

  #toggle(key, on) {
    const keys = this.#chosen().map((run) => runKey(run.run));
    this.#choose(on ? [...keys, key] : keys.filter((other) => other !== key));
  }

  #filter() {
    const text = this.filter.value.toLowerCase();
    for (const item of this.list.children) item.hidden = !item.dataset.search.includes(text);
    this.noMatch.hidden = this.#visible().length > 0;
  }

  #showList(chosen) {
    const runs = this.#runs();
    const names = JSON.stringify(runs.map((run) => run.run));
    if (this.#listed !== names) {
      this.#listed = names;
      fill(
        this.list,
        runs.map((run) => {
          const key = runKey(run.run);
          const { color, dash } = runStyle(run.run);
          const box = h("input", {
            type: "checkbox",
            on: { change: () => this.#toggle(key, box.checked) },
          });
          const swatch = h("span", {
            class: `swatch swatch-${dash}`,
            "aria-hidden": "true",
            style: { borderColor: color },
          });
          const item = h(
            "li",
            {},
            h("label", {}, box, swatch, nameElement(run.run, { breaks: true })),
          );
          item.dataset.key = key;
          item.dataset.search = run.run.toLowerCase();
          return item;
        }),
      );
      this.#filter();
    }
    const keys = new Set(chosen.map((run) => runKey(run.run)));
    for (const item of this.list.children)
      item.querySelector("input").checked = keys.has(item.dataset.key);
  }

  async update(signal) {
    const { state, statistic } = this.#app;
    assignRunStyles(this.#runs().map((run) => run.run));
    const chosen = this.#chosen();
    this.#showList(chosen);
    this.what.set(
      [
        { value: "before", label: "before balancing" },
        { value: "after", label: "after balancing" },
      ],
      state.get("what") === "after" ? "after" : "before",
    );
    const options = chosen.map((run) => ({ value: runKey(run.run), label: shorten(run.run, 60) }));
    const keyOf = (wanted, fallback) =>
      options.some((option) => option.value === wanted) ? wanted : (options[fallback]?.value ?? "");
    const a = keyOf(state.get("a"), 0);
    const b = keyOf(state.get("b"), options.length > 1 ? 1 : 0);
    this.a.set(options, a);
    this.b.set(options, b);
    if (!chosen.length) {
      this.#sayNothing("Choose runs on the left.");
      return;
    }
    const failed = [];
    const read = await Promise.all(
      chosen.map(async (run) => {
        // The same output where the run has it; a run with other names is compared by its first.
        const other =
          run.statistics.find((each) => each.name === statistic.name) ?? run.statistics[0];
        try {
          const series = await get(
            "series",
            { run: run.run, statistic: other.name, max_steps: MAX_STEPS },
            signal,
          );
          return { run: run.run, key: runKey(run.run), statistic: other, series };
        } catch (error) {
          if (error.name === "AbortError") throw error;
          // The others are drawn, and this one can be unticked.
          failed.push([nameElement(run.run), ` could not be loaded. ${error.message}`]);
          return null;
        }
      }),
    );
    signal.throwIfAborted();
    const answers = read.filter(Boolean);
    if (!answers.length) {
      this.#sayNothing("None of the chosen runs could be loaded.", failed);
      return;
    }
    this.#showFailed(failed);
    const after = state.get("what") === "after";
    this.#loaded = answers
      .filter((entry) => entry.series.steps.length)
      .map((entry) => ({
        ...entry,
        rows: rowsOf(entry.series, after),
        style: runStyle(entry.run),
      }));
    const identity = [state.get("scale"), after, ...answers.map((entry) => entry.series)];
    await Promise.all([
      this.#drawPanels(identity),
      this.#drawLines(identity),
      this.#drawDifference(after, a, b),
    ]);
  }

  #sayNothing(why, failed = []) {
    this.#loaded = [];
    for (const chart of [this.panels, this.lines, this.difference]) chart.say(why);
    this.#showFailed(failed);
  }

  #showFailed(failed) {
    fill(
      this.failed,
      failed.map((content) => h("li", {}, content)),
    );
    this.failed.hidden = !failed.length;
  }

  async #drawPanels(identity) {
    const entries = this.#loaded;
    const width = Math.max(this.panels.element.clientWidth - 126, PANEL.narrow);
    const most = Math.max(
      1,
      Math.floor(width / (entries.length > FEW ? PANEL.narrow : PANEL.wide)),
    );
    const lines = Math.max(1, Math.ceil(entries.length / most));
    const columns = Math.max(1, Math.ceil(entries.length / lines)); // four are two by two, not three and one
    const scale = this.#app.state.get("scale");
    // One or two runs get more room; more of them share the page.
    const height = lines === 1 ? 290 : PANEL.height;
    this.panels.setHeight(lines * height + 50);
    await this.panels.draw([...identity, columns], (look) => {
      const top = Math.max(...entries.map((entry) => largest(entry.rows)));
      // Beside many rows the bar keeps a length that one screen shows.
      const bar = {
        lenmode: "pixels",
        len: Math.min(lines * height - 20, 320),
        y: 1,
        yanchor: "top",
      };
      const layout = {
        margin: { l: 52, r: 74, t: 30, b: 40 },
        coloraxis: densityAxis(look, {
          top,
          scale,
          title: "share of samples",
          label: percent,
          tickformat: ".0%",
          ...bar,
        }),
        annotations: [],
      };
      const total = lines * height;
      const gapX = columns > 1 ? 0.018 : 0;
      const gapY = lines > 1 ? 26 / total : 0;
      const panelWidth = (1 - gapX * (columns - 1)) / columns;
      const panelHeight = (1 - gapY * (lines - 1)) / lines;
      const leftOf = (column) => column * (panelWidth + gapX);
      const topOf = (line) => 1 - line * (panelHeight + gapY);
      const room = (width / columns) * 0.94 - 18;
      const alone = Math.max(...entries.map(({ series }) => series.steps.at(-1))) / 15 || 1;
      // Axes are shared by the panels of a column and of a line: each axis costs time to draw.
      const name = (letter, index) => letter + (index ? String(index + 1) : "");
      const shared = { mirror: "all", ticks: "", zeroline: false }; // the frame of each panel
      for (let column = 0; column < columns; column += 1) {
        const lowest = Math.floor((entries.length - 1 - column) / columns);
        layout[name("xaxis", column)] = makeAxis(look, "step", {
          ...FITTING,
          ...shared,
          domain: [leftOf(column), leftOf(column) + panelWidth],
          anchor: name("y", lowest),
          showgrid: false,
          nticks: 5,
          ...(column ? { matches: "x" } : {}),
        });
      }
      for (let line = 0; line < lines; line += 1) {
        layout[name("yaxis", line)] = normAxis(look, "norm", {
          ...shared,
          domain: [Math.max(0, topOf(line) - panelHeight), topOf(line)],
          anchor: "x",
          dtick: 0.5,
          ...(line ? { matches: "y" } : {}),
        });
      }
      const data = entries.map((entry, index) => {
        const column = index % columns;
        const line = Math.floor(index / columns);
        layout.annotations.push(
          subplotTitle(
            look,
            `<span style="color:${entry.style.color}">■</span> ${fitText(entry.run, room)}`,
            leftOf(column),
            topOf(line),
          ),
        );
        const { steps, bins } = entry.series;
        const { places, indices } = evenly(steps, COLUMNS);
        // One step alone has no width of its own: enough of the longest run's to be seen.
        const around = steps.length === 1 ? [steps[0] - alone / 2, steps[0] + alone / 2] : places;
        const rows = indices.map((at) => entry.rows[at]);
        return densityTrace({
          steps: around,
          rows,
          bins,
          // A place between two steps shows, and names, the nearer one.
          customdata: byBin(rows, bins).map((row) =>
            row.map((value, place) => [value, steps[indices[place]]]),
          ),
          scale,
          top,
          unit: "of the samples",
          name: chartText(entry.run, 40),
          xaxis: name("x", column),
          yaxis: name("y", line),
          hovertemplate:
            "step %{customdata[1]:,}<br>norm %{y:.3f}<br><b>%{customdata[0]:.3~%}</b> of the samples<extra>%{fullData.name}</extra>",
        });
      });
      return {
        data,
        layout,
        summary: entries
          .map(
            (entry) =>
              `${shorten(entry.run, 60)}: ${percent(partBelow(entry.rows.at(-1), 0.1))} of the samples below norm 0.1 at its last step`,
          )
          .join("; "),
      };
    });
  }

  async #drawLines(identity) {
    const entries = this.#loaded;
    const logarithmic = this.#app.state.get("scale") === "log";
    await this.lines.draw(identity, (look) => ({
      data: entries.map((entry) => ({
        type: "scatter",
        mode: "lines",
        name: chartText(entry.run, 30),
        x: centres(entry.series.bins),
        // A density per norm, so that runs with other numbers of bins lie on the same height.
        y: entry.rows.at(-1).map((value) => value * entry.series.bins),
        customdata: entry.rows.at(-1),
        line: { color: entry.style.color, dash: entry.style.dash, width: 2 },
        hovertemplate:
          "norm %{x:.3f}<br><b>%{customdata:.3~%}</b> of the samples<extra>%{fullData.name}</extra>",
      })),
      layout: {
        margin: { l: 52, r: 14, t: 30, b: 40 },
        xaxis: normAxis(look),
        yaxis: makeAxis(look, "density", {
          type: logarithmic ? "log" : "linear",
          rangemode: "tozero",
        }),
      },
      summary: `Densities at the last step of ${entries.length} runs.`,
      // On the page the list of runs is the legend.
      picture: {
        showlegend: true,
        margin: { l: 52, r: 14, t: 40 + 19 * Math.ceil(entries.length / 3), b: 40 },
      },
    }));
  }

  async #drawDifference(after, keyA, keyB) {
    const a = this.#loaded.find((entry) => entry.key === keyA);
    const b = this.#loaded.find((entry) => entry.key === keyB);
    if (!a || !b || a === b) {
      this.difference.say(
        "Choose two different runs to see where the one has more samples than the other.",
      );
      return;
    }
    await this.difference.draw([after, a.series, b.series], (look) => {
      const { steps, bins } = a.series;
      const end = Math.min(steps.at(-1), b.series.steps.at(-1));
      // Beyond the end of the shorter run there is nothing to compare with.
      const within = steps.map((_, index) => index).filter((index) => steps[index] <= end);
      const used = within.length ? within : [0];
      const rows = used.map((index) => {
        const other = rebin(b.rows[nearestStep(b.series.steps, steps[index])], bins);
        return a.rows[index].map((value, bin) => 100 * (value - other[bin]));
      });
      return {
        data: [
          differenceTrace({
            steps: used.map((index) => steps[index]),
            rows,
            bins,
            unit: "",
            hovertemplate:
              "step %{x:,}<br>norm %{y:.3f}<br><b>%{z:+.3~f}</b> percentage points<extra></extra>",
          }),
        ],
        layout: {
          margin: { l: 52, r: 74, t: 30, b: 40 },
          xaxis: stepAxis(look, steps),
          yaxis: normAxis(look),
          coloraxis: differenceAxis(look, {
            rows,
            title: "difference, percentage points",
            tickformat: "+.2~f",
          }),
        },
        summary: `Orange where ${shorten(a.run, 60)} has more of its samples than ${shorten(b.run, 60)}, blue where it has fewer.`,
      };
    });
  }
}

/** What was computed of each series, since a change of the choice leaves most of them as they are. */
const computed = { before: new WeakMap(), after: new WeakMap() };

/** Shares of samples for each step, so that batch sizes do not matter. */
function rowsOf(series, after) {
  const known = after ? computed.after : computed.before;
  if (!known.has(series)) {
    const weighed = (row, index) => (after ? balance(row, series.weights[index]) : row);
    known.set(
      series,
      series.density.map((row, index) => shares(weighed(row, index))),
    );
  }
  return known.get(series);
}
