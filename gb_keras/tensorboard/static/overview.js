/** Overview: where samples crowd, step by step, and what balancing makes of it. */

import { get } from "./api.js";
import { Chart, stepLines, theme } from "./charts.js";
import { bandsAndRowsFigure, classHeatmap } from "./class_figures.js";
import { balance, indexOfStep, nearestStep, partBelow, partFrom, sum } from "./density.js";
import { DENSITY_TITLES, densityFigure, stepAxes } from "./density_figure.js";
import { fill, h, select } from "./dom.js";
import { integer, known, percent, short } from "./format.js";
import { SCALES } from "./heatmap.js";
import { hasLosses, lossFigure } from "./loss_figure.js";
import { profileFigure } from "./profile_figure.js";
import { pause } from "./timing.js";

const MAX_STEPS = 200;
const FRAME = 300; // milliseconds between two steps while playing
const FRAMES = 80; // a long training is played in leaps, so that it never takes minutes
/** Heights follow the window, so that the whole view is seen at once where there is room. */
const TALL = "clamp(300px, 37vh, 520px)";
const LOW = "clamp(270px, 32vh, 460px)";
const QUIET = 120; // wait for the slider to rest before the server is asked

export class Overview {
  #app;
  #series = null;
  #after = []; // densities after balancing, for each step
  #difference = [];
  #balanced = false; // whether it can be shown what balancing did
  #rows = null; // classes in the order in which their chart shows them
  #marked = ""; // where the lines that mark the step stand
  #told = { key: "", step: "" }; // what the sentence is about
  #timer = 0;

  constructor(app) {
    this.#app = app;
    this.#buildControls();
    this.density = new Chart({
      id: "density-chart",
      title: "Gradient norms over steps",
      height: TALL,
    });
    this.profile = new Chart({
      id: "profile-chart",
      title: "At the chosen step",
      height: TALL,
      tools: [this.logTool],
    });
    this.loss = new Chart({
      id: "loss-chart",
      title: "Loss and skipped samples",
      height: LOW,
      tools: [this.smoothing],
    });
    this.byClass = new Chart({
      id: "class-chart",
      title: "Classes at the chosen step",
      height: LOW,
    });
    this.density.on("click", (point) =>
      this.#choose(nearestStep(this.#series.steps, Number(point.x))),
    );
    this.loss.on("click", (point) =>
      this.#choose(nearestStep(this.#series.steps, Number(point.x))),
    );
    this.byClass.on("click", (point) => {
      // Beside the rows there may be curves.
      const chosen = point.data.type === "heatmap" && this.#rows?.[Math.round(point.y)];
      if (chosen) this.#app.set({ view: "classes", class: chosen.class });
    });
    this.sentence = h("p", { class: "sentence", "data-testid": "sentence", "aria-live": "polite" });
    this.facts = h("dl", { class: "facts" });
    this.element = h(
      "div",
      { class: "view overview" },
      h("section", { class: "card summary" }, this.sentence, this.facts),
      this.controls,
      h("div", { class: "row row-density" }, this.density.element, this.profile.element),
      h("div", { class: "row row-halves" }, this.loss.element, this.byClass.element),
    );
  }

  #buildControls() {
    const app = this.#app;
    this.play = h("button", {
      type: "button",
      class: "icon",
      "data-testid": "play",
      "aria-pressed": "false",
      on: { click: () => this.#togglePlay() },
    });
    this.slider = h("input", {
      type: "range",
      id: "step-slider",
      "data-testid": "step-slider",
      min: 0,
      max: 0,
      value: 0,
      "aria-label": "Step",
      on: {
        input: () => {
          this.stop();
          this.#choose(Number(this.slider.value));
        },
      },
    });
    this.value = h("output", {
      class: "step-value",
      "data-testid": "step-value",
      for: "step-slider",
    });
    this.scale = select("scale-select", "Colours", (value) => app.set({ scale: value }));
    this.mode = select("balance-mode", "Show", (value) => app.set({ mode: value }));
    this.log = h("input", {
      type: "checkbox",
      "data-testid": "profile-log",
      on: { change: () => app.set({ plog: this.log.checked ? "1" : "" }) },
    });
    this.logTool = h("label", { class: "field" }, this.log, "log");
    this.smoothSlider = h("input", {
      type: "range",
      id: "smoothing",
      "data-testid": "smoothing",
      min: 0,
      max: 0.99,
      step: 0.01,
      class: "small",
      on: { input: () => app.set({ smooth: this.smoothSlider.value }) },
    });
    this.smoothValue = h("output", { for: "smoothing", class: "small-value" });
    this.smoothing = h(
      "label",
      { class: "field" },
      h("span", { class: "field-label" }, "Smoothing"),
      this.smoothSlider,
      this.smoothValue,
    );
    this.controls = h(
      "div",
      { class: "controls card" },
      this.play,
      h(
        "label",
        { class: "field grow", for: "step-slider" },
        h("span", { class: "field-label" }, "Step"),
        this.slider,
      ),
      this.value,
      this.mode.root,
      this.scale.root,
    );
    this.#showPlaying(false);
  }

  #showPlaying(playing) {
    this.play.textContent = playing ? "❚❚" : "▶";
    this.play.setAttribute("aria-pressed", String(playing));
    this.play.setAttribute("aria-label", playing ? "Pause" : "Play through the steps");
    // Reading out every sentence of a film would be no help.
    this.sentence?.setAttribute("aria-live", playing ? "off" : "polite");
    this.play.title = playing ? "Pause" : "Play through the steps";
  }

  #choose(index) {
    const steps = this.#series?.steps ?? [];
    if (!steps.length) return;
    const last = steps.length - 1;
    // The last step is not written down, so that the view follows a training that goes on.
    this.#app.set({ step: index >= last ? "" : steps[Math.max(0, index)] });
  }

  #togglePlay() {
    if (this.#timer) {
      this.stop();
      return;
    }
    const steps = this.#series?.steps ?? [];
    if (steps.length < 2) return;
    const leap = Math.max(1, Math.round(steps.length / FRAMES));
    let index = indexOfStep(steps, this.#app.state.number("step"));
    if (index >= steps.length - 1) index = -leap;
    const advance = () => {
      index = Math.min(index + leap, steps.length - 1);
      this.#choose(index);
      if (index >= steps.length - 1) this.stop();
    };
    this.#timer = setInterval(advance, FRAME);
    this.#showPlaying(true);
    advance();
  }

  /** Stop playing; also called when the view is left. */
  stop() {
    clearInterval(this.#timer);
    this.#timer = 0;
    this.#showPlaying(false);
  }

  async update(signal) {
    const { state, run, statistic } = this.#app;
    const query = { run: run.run, statistic: statistic.name };
    const series = await get("series", { ...query, max_steps: MAX_STEPS }, signal);
    signal.throwIfAborted();
    if (series !== this.#series) this.#take(series);
    const { steps } = series;
    if (!steps.length) {
      for (const chart of [this.density, this.profile, this.loss, this.byClass])
        chart.say("Nothing was logged yet.");
      fill(this.sentence, "Nothing was logged yet.");
      return;
    }
    const index = indexOfStep(steps, state.number("step"));
    this.#app.tellStep(steps[index]);
    this.slider.max = String(steps.length - 1);
    this.slider.value = String(index);
    this.slider.setAttribute("aria-valuetext", `step ${integer(steps[index])}`);
    fill(
      this.value,
      integer(steps[index]),
      h("small", {}, index === steps.length - 1 ? " last" : ` of ${integer(steps.at(-1))}`),
    );
    this.scale.set(SCALES, state.get("scale"));
    this.log.checked = state.get("plog") === "1";
    // A damaged log may have no weights; the notice of its problems tells.
    this.#balanced = statistic.balanced && series.weights.some(Boolean);
    const alone = statistic.balanced ? "before (weights are missing)" : "as it is (not balanced)";
    this.mode.set(
      this.#balanced
        ? [
            { value: "both", label: "before and after" },
            { value: "difference", label: "difference" },
            { value: "before", label: "before balancing" },
            { value: "after", label: "after balancing" },
          ]
        : [{ value: "before", label: alone }],
      this.#balanced ? state.get("mode") : "before",
    );
    if (!this.mode.element.value) this.mode.element.value = this.#balanced ? "both" : "before";
    this.smoothSlider.value = state.get("smooth");
    this.smoothValue.textContent = Number(state.get("smooth")).toFixed(2);
    this.#showFacts(index);
    await Promise.all([
      this.#drawDensity(index),
      this.#drawProfile(index),
      this.#drawLoss(index),
      this.#showStep(query, state.get("step"), signal),
    ]);
  }

  #take(series) {
    this.#series = series;
    this.#after = series.density.map((row, index) => balance(row, series.weights[index]));
    this.#difference = series.density.map((row, index) =>
      row.map((value, bin) => this.#after[index][bin] - value),
    );
    this.#marked = "";
  }

  #showFacts(index) {
    const series = this.#series;
    const { statistic } = this.#app;
    const density = series.density[index];
    const after = this.#after[index];
    const used = series.weights[index]?.filter((_, bin) => density[bin] > 0) ?? [];
    const unknown = statistic.balanced ? "not known" : "all 1";
    const change = (before, now) =>
      this.#balanced ? `${percent(before)} → ${percent(now)}` : percent(before);
    const facts = [
      ["Easy, norm < 0.1", change(partBelow(density, 0.1), partBelow(after, 0.1))],
      ["Hard, norm ≥ 0.9", change(partFrom(density, 0.9), partFrom(after, 0.9))],
      [
        "Weights",
        this.#balanced && used.length
          ? `${short(Math.min(...used))} to ${short(Math.max(...used))}`
          : unknown,
      ],
      ...(known(series.noise_rate[index])
        ? [["Wrong labels, estimated", percent(series.noise_rate[index])]]
        : []),
      ["Samples per batch", short(sum(density))],
      ["Classes", integer(statistic.num_classes)],
    ];
    const explain = (value) =>
      String(value).includes("→")
        ? "Part of the samples → part of their weight after balancing"
        : null;
    fill(
      this.facts,
      facts.map(([name, value]) =>
        h("div", { title: explain(value) }, h("dt", {}, name), h("dd", {}, value)),
      ),
    );
  }

  async #showStep(query, wanted, signal) {
    // Only a step that a moving slider passes is waited for; everything else is shown at once.
    const key = `${query.run}\n${query.statistic}`;
    const moved = this.#told.key === key && this.#told.step !== wanted;
    if (moved) await pause(QUIET, signal);
    const step = await get("step", { ...query, step: wanted }, signal);
    signal.throwIfAborted();
    this.#told = { key, step: wanted };
    if (this.sentence.textContent !== step.sentence) this.sentence.textContent = step.sentence;
    await this.#drawClasses(step);
  }

  async #drawDensity(index) {
    const series = this.#series;
    const mode = this.mode.element.value;
    const scale = this.#app.state.get("scale");
    const step = series.steps[index];
    this.density.setTitle(DENSITY_TITLES[mode]);
    await this.density.draw([series, mode, scale], (look) =>
      densityFigure(look, {
        series,
        after: this.#after,
        difference: this.#difference,
        mode,
        scale,
        step,
      }),
    );
    // Drawn again or not, the lines must stand at the step.
    const key = `${step} ${mode} ${document.documentElement.className}`;
    if (this.#marked !== key) {
      this.#marked = key;
      const look = theme();
      this.density.mark(stepLines(look, step, stepAxes(mode)));
      this.loss.mark(stepLines(look, step));
    }
  }

  async #drawProfile(index) {
    const { bins, density, weights, steps } = this.#series;
    const logarithmic = this.#app.state.get("plog") === "1";
    const balanced = this.#balanced;
    this.profile.setTitle(`At step ${integer(steps[index])}`);
    await this.profile.draw([this.#series, index, logarithmic, balanced], (look) =>
      profileFigure(look, {
        bins,
        density: density[index],
        after: this.#after[index],
        weights: weights[index],
        balanced,
        logarithmic,
      }),
    );
  }

  async #drawLoss(index) {
    const series = this.#series;
    const factor = Math.min(0.99, Math.max(0, this.#app.state.number("smooth") ?? 0));
    const { balanced } = this.#app.statistic;
    if (!hasLosses(series)) {
      this.loss.say("Losses and skipped samples were not logged in this run.");
      return;
    }
    const noise = series.noise_rate.some(known);
    this.loss.setTitle(`Loss${noise ? ", label noise" : ""} and skipped samples`);
    await this.loss.draw([series, factor, balanced], (look) =>
      lossFigure(look, { series, factor, balanced, step: series.steps[index] }),
    );
  }

  async #drawClasses(step) {
    const chart = this.byClass;
    const scale = this.#app.state.get("scale");
    // Where only what is after balancing is shown, it is of the classes too.
    const after = this.mode.element.value === "after" && step.rows.some((row) => row.balanced);
    const rows = step.rows
      .toSorted((a, b) => sum(a.density) - sum(b.density))
      .map((row) => ({ ...row, density: after ? (row.balanced ?? []) : row.density }));
    this.#rows = rows;
    if (step.quantiles) {
      chart.setTitle("Spread over classes at the chosen step");
      chart.hint.textContent = `${rows.length} of ${integer(step.num_classes)} have rows: chosen ones, and those with the most and the least gradient`;
      await chart.draw([step, scale, after], (look) =>
        bandsAndRowsFigure(look, { step, rows, scale }),
      );
      return;
    }
    if (!rows.length) {
      chart.say("No class was written at this step.");
      return;
    }
    chart.setTitle(`Classes at the chosen step${after ? ", after balancing" : ""}`);
    chart.hint.textContent = `share of each class's ${after ? "weight" : "samples"}, most samples on top; click opens a class`;
    await chart.draw([step, scale, after], (look) =>
      classHeatmap(look, { rows, bins: step.bins, scale }),
    );
  }
}
