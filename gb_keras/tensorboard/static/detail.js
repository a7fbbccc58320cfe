/** One class: its own heat map over steps, and its numbers below on the same axis. */

import { get } from "./api.js";
import { Chart, FITTING, makeAxis } from "./charts.js";
import { seriesColors } from "./colors.js";
import { indexOfStep, partBelow, scaledTo } from "./density.js";
import { densityFigure } from "./density_figure.js";
import { fill, h, nameElement } from "./dom.js";
import { integer, known, percent, short } from "./format.js";

const MAX_STEPS = 200;
const LINES = [
  ["count", "samples seen"],
  ["margin", "margin"],
  ["mean_weight", "mean weight"],
  ["mean_norm", "mean norm"],
  ["recall", "recall"],
];

export class ClassDetail {
  #app;
  #shown = "";

  constructor(app) {
    this.#app = app;
    this.title = h("h3", { tabindex: -1 });
    this.facts = h("dl", { class: "facts" });
    this.message = h("p", { class: "chart-note" });
    this.density = new Chart({
      id: "class-density-chart",
      title: "Gradient norms of the class",
      height: 240,
    });
    this.lines = new Chart({ id: "class-lines-chart", title: "The class over steps", height: 360 });
    this.content = h("div", {}, this.facts, this.density.element, this.lines.element);
    this.element = h(
      "section",
      {
        class: "card class-detail",
        "data-testid": "class-detail",
        "aria-label": "The chosen class",
      },
      h(
        "header",
        { class: "card-header" },
        h("div", { class: "card-title" }, this.title),
        h(
          "div",
          { class: "card-tools" },
          (this.close = h(
            "button",
            {
              type: "button",
              class: "quiet",
              "data-testid": "class-close",
              on: { click: () => app.set({ class: "" }) },
            },
            "Close",
          )),
        ),
      ),
      this.message,
      this.content,
    );
  }

  async update(signal) {
    const { state, run, statistic } = this.#app;
    const chosen = state.get("class");
    const opened = `${run.run}\n${statistic.name}\n${chosen}`;
    this.close.hidden = chosen === "";
    if (chosen === "") {
      this.#shown = opened;
      fill(this.title, "One class");
      this.#say(
        "Choose a class in the table or in the ranking to see its own densities over steps.",
      );
      return;
    }
    let series;
    try {
      series = await get(
        "series",
        { run: run.run, statistic: statistic.name, class: chosen, max_steps: MAX_STEPS },
        signal,
      );
    } catch (error) {
      if (error.name === "AbortError") throw error;
      // The table beside it may still be right: only this part says what is wrong.
      fill(this.title, `Class ${chosen.slice(0, 20)}`);
      this.#say(error.message);
      return;
    }
    signal.throwIfAborted();
    // Without names of their own, classes are called by their index.
    const unnamed = series.name === String(series.class);
    fill(
      this.title,
      unnamed
        ? `Class ${series.class}`
        : [nameElement(series.name), h("span", { class: "muted" }, `class ${series.class}`)],
    );
    this.message.hidden = true;
    this.content.hidden = false;
    this.#showFacts(series);
    await Promise.all([this.#drawDensity(series), this.#drawLines(series)]);
    signal.throwIfAborted();
    if (this.#shown !== opened) {
      // On a narrow page the detail stands below the table, out of sight.
      this.#shown = opened;
      const { top } = this.element.getBoundingClientRect();
      if (top > window.innerHeight - 120)
        this.element.scrollIntoView({ behavior: "smooth", block: "start" });
    }
  }

  #say(text) {
    this.message.textContent = text;
    this.message.hidden = false;
    this.content.hidden = true;
  }

  #showFacts(series) {
    // What was known at the chosen step, as the table beside it has it.
    const chosen = indexOfStep(series.steps, this.#app.state.number("step"));
    const last = (values) => values?.slice(0, chosen + 1).findLast(known);
    const facts = [
      ["At step", integer(series.steps[chosen])],
      ["Samples seen", short(last(series.count))],
      ["Margin", short(last(series.margin))],
      ["Mean weight", short(last(series.mean_weight))],
      ["Mean norm", short(last(series.mean_norm))],
      ["Recall", percent(last(series.recall))],
    ];
    fill(
      this.facts,
      facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
    );
  }

  async #drawDensity(series) {
    const { bins } = series;
    // Steps at which the row was not among those written are left out: stripes would hide the rest.
    const kept = series.steps.map((_, index) => index).filter((index) => series.density[index]);
    const steps = kept.map((index) => series.steps[index]);
    const density = kept.map((index) => series.density[index]);
    const after = kept.map((index) => {
      const balanced = series.balanced[index];
      return balanced && scaledTo(balanced, series.density[index]);
    });
    const mode = this.#app.statistic.balanced && after.some(Boolean) ? "both" : "before";
    const { state } = this.#app;
    const scale = state.get("scale");
    const step = steps[indexOfStep(steps, state.number("step"))];
    if (!kept.length) {
      this.density.say(
        "The density of this class was not written: with many classes only some rows are. Its numbers over steps are below.",
      );
      return;
    }
    this.density.hint.textContent =
      kept.length < series.steps.length
        ? `written at ${kept.length} of ${series.steps.length} steps`
        : "";
    await this.density.draw([series, mode, scale, step], (look) => {
      const of = { steps, bins, density };
      const { data, layout } = densityFigure(look, { series: of, after, mode, scale, step });
      return {
        data,
        layout: { ...layout, margin: { l: 64, r: 70, t: 30, b: 40 }, uirevision: series.class },
        summary: `${percent(partBelow(density.at(-1), 0.1))} of the samples of this class have a norm below 0.1 at the last step with data.`,
      };
    });
  }

  async #drawLines(series) {
    const lines = LINES.filter(([key]) => series[key]?.some(known));
    if (!lines.length) {
      this.lines.say("No numbers of this class were logged.");
      return;
    }
    this.lines.setHeight(70 + 76 * lines.length);
    await this.lines.draw([series], (look) => {
      const colors = seriesColors(look.dark);
      const gap = 0.06;
      const height = (1 - gap * (lines.length - 1)) / lines.length;
      const layout = { margin: { l: 64, r: 70, t: 30, b: 40 }, uirevision: series.class };
      const last = lines.length - 1;
      layout.xaxis = makeAxis(look, "step", {
        ...FITTING,
        anchor: last ? `y${last + 1}` : "y",
        zeroline: false,
        ...(series.steps.length > 1 ? { range: [series.steps[0], series.steps.at(-1)] } : {}),
      });
      const data = lines.map(([key, label], index) => {
        const suffix = index ? String(index + 1) : "";
        const top = 1 - index * (height + gap);
        layout[`yaxis${suffix}`] = makeAxis(look, label, {
          ...FITTING,
          ...visibleRange(series[key]),
          domain: [Math.max(0, top - height), top],
          nticks: 4,
          zeroline: false,
        });
        return {
          type: "scatter",
          // Validation happens now and then: a line through the gaps, with a mark at each value.
          mode: series.steps.length > 1 && key !== "recall" ? "lines" : "lines+markers",
          connectgaps: true,
          x: series.steps,
          y: series[key],
          yaxis: `y${suffix}`,
          marker: { size: 4 },
          line: { color: colors.before, width: 2 },
          hovertemplate: `step %{x:,}<br>${label} <b>%{y:,.5~g}</b><extra></extra>`,
        };
      });
      return {
        data,
        layout,
        summary: lines
          .map(([key, label]) => `${label} ${short(series[key].findLast(known))}`)
          .join(", "),
      };
    });
  }
}

/** At least a hundredth of the values: less is noise, and would need labels of many digits. */
function visibleRange(values) {
  const numbers = values.filter(known);
  const low = Math.min(...numbers);
  const high = Math.max(...numbers);
  const least = Math.max(Math.abs(low), Math.abs(high)) / 100;
  if (high - low >= least || least === 0) return {};
  const middle = (low + high) / 2;
  return { range: [middle - least / 2, middle + least / 2] };
}
