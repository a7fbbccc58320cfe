/**
 * The Gradient Balance tab of TensorBoard. TensorBoard imports this module into an empty page and
 * calls `render`.
 */

import { forget, get } from "./api.js";
import { Chart, plotly } from "./charts.js";
import { Classes } from "./classes.js";
import { Compare } from "./compare.js";
import { assignRunStyles } from "./colors.js";
import { fill, h, nameElement, select, shorten } from "./dom.js";
import { downloadTable } from "./downloads.js";
import { integer } from "./format.js";
import { Health, countOf } from "./health.js";
import { Host } from "./host.js";
import { emptyState, errorState, noticeBar, otherProblems } from "./notices.js";
import { Overview } from "./overview.js";
import { State, runKey } from "./state.js";

const VIEWS = [
  ["overview", "Overview"],
  ["classes", "Classes"],
  ["compare", "Compare"],
  ["health", "Health"],
];

class App {
  state = new State();
  host = new Host();
  /** @type {Array<Object>} as the server lists them */
  runs = [];
  run = null;
  statistic = null;
  views = {};
  started = false; // the state of the address is not there before the host answered
  #runsLoaded = false;
  #drawing = null; // AbortController of the drawing that runs
  #hostRuns = null;
  #step = null; // the one that is shown, where the view has one

  constructor() {
    Chart.parts = () => this.fileParts();
    this.#buildPage();
    this.host.watchTheme((dark) => {
      document.documentElement.classList.toggle("dark", dark);
      this.refresh();
    });
    this.state.listen((changed) => {
      if (changed.includes("view") && this.state.get("view") !== "overview")
        this.views.overview.stop();
      this.host.save(this.state.entries());
      this.refresh();
    });
    this.host.listen({
      reloaded: () => this.reload(),
      runs: (names) => {
        const before = this.#hostRuns;
        this.#hostRuns = JSON.stringify(names);
        // The first message only tells what was there when this page loaded its own list.
        if (before !== null && before !== this.#hostRuns) this.reload();
      },
      address: (entries) => {
        if (this.state.load(entries, { silent: true }).length) this.refresh();
      },
    });
  }

  /** Change what is shown. */
  set(changes) {
    this.state.set(changes);
  }

  async start() {
    this.state.load(await this.host.load(), { silent: true });
    this.started = true;
    this.host.runs().then((names) => {
      if (names && this.#hostRuns === null) this.#hostRuns = JSON.stringify(names);
    });
    await this.refresh();
  }

  /** Fetch everything again and keep the view. */
  reload() {
    forget();
    this.#runsLoaded = false;
    return this.refresh();
  }

  #buildPage() {
    this.tabs = new Map(
      VIEWS.map(([name, label]) => [
        name,
        h(
          "button",
          {
            type: "button",
            role: "tab",
            id: `tab-${name}`,
            "data-testid": `tab-${name}`,
            "aria-controls": `panel-${name}`,
            on: { click: () => this.set({ view: name }) },
          },
          label,
        ),
      ]),
    );
    this.badge = h("span", { class: "badge", hidden: true });
    this.tabs.get("health").append(this.badge);
    const tablist = h(
      "div",
      {
        class: "tabs",
        role: "tablist",
        "aria-label": "Views",
        on: { keydown: (event) => this.#moveTab(event) },
      },
      [...this.tabs.values()],
    );
    this.runSelect = select("run-select", "Run", (value) => this.#chooseRun(value), { wide: true });
    this.statisticSelect = select(
      "statistic-select",
      "Output",
      (value) => this.set({ stat: value, class: "", page: 1 }),
      { wide: true },
    );
    const button = (testid, label, title, action) =>
      h(
        "button",
        { type: "button", class: "quiet", "data-testid": testid, title, on: { click: action } },
        label,
      );
    this.copy = button("copy-link", "Copy link", "Copy a link that restores this view", () =>
      this.#copyLink(),
    );
    this.buttons = [
      button("download-csv", "CSV", "Download the table of this view as CSV", () =>
        this.#download("csv"),
      ),
      button("download-json", "JSON", "Download the table of this view as JSON", () =>
        this.#download("json"),
      ),
    ];
    this.live = h("div", { class: "sr-only", role: "status", "aria-live": "polite" });
    this.progress = h("div", { class: "progress", "aria-hidden": "true" });
    this.toolbar = h(
      "div",
      { class: "toolbar", hidden: true },
      h("span", { class: "selectors" }, this.runSelect.root, this.statisticSelect.root),
      this.buttons,
      this.copy,
    );
    this.notices = noticeBar();
    this.problems = otherProblems();
    this.empty = emptyState();
    this.error = errorState(() => {
      this.error.hide();
      this.reload();
    });
    this.loading = h("p", { class: "loading" }, "Loading gradient statistics…");
    this.panels = h("main", { class: "panels" });
    const views = { overview: Overview, classes: Classes, compare: Compare, health: Health };
    for (const [name] of VIEWS) {
      const view = new views[name](this);
      this.views[name] = view;
      Object.assign(view.element, { id: `panel-${name}`, hidden: true });
      view.element.setAttribute("role", "tabpanel");
      view.element.setAttribute("aria-labelledby", `tab-${name}`);
      this.panels.append(view.element);
    }
    document.title = "Gradient Balance";
    document.documentElement.lang = "en";
    document.body.append(
      h("header", { class: "top" }, tablist, this.toolbar, this.progress),
      this.notices.element,
      this.error.element,
      this.empty,
      this.loading,
      this.panels,
      this.problems.element,
      this.live,
    );
  }

  #moveTab(event) {
    const names = VIEWS.map(([name]) => name);
    const at = names.indexOf(this.state.get("view"));
    const to = {
      ArrowRight: (at + 1) % names.length,
      ArrowLeft: (at + names.length - 1) % names.length,
      Home: 0,
      End: names.length - 1,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.set({ view: names[to] });
    this.tabs.get(names[to]).focus();
  }

  #chooseRun(key) {
    // Another run has other steps and may have other classes; what was searched for stays.
    this.views.overview.stop();
    this.set({ run: key, step: "", page: 1 });
  }

  async #download(format) {
    if (!this.run) return;
    try {
      await downloadTable(this, format);
      this.#say(`Downloaded as ${format.toUpperCase()}`);
    } catch (error) {
      this.#say(`The download failed: ${error.message}`, true);
    }
  }

  async #copyLink() {
    this.host.save(this.state.entries());
    const link = this.host.link();
    let copied = false;
    try {
      await navigator.clipboard.writeText(link);
      copied = true;
    } catch {
      // Not a secure context (TensorBoard over plain HTTP) or not allowed: the older way.
      const field = h("textarea", { class: "sr-only", "aria-hidden": "true" });
      field.value = link;
      document.body.append(field);
      field.select();
      copied = document.execCommand("copy");
      field.remove();
    }
    this.copy.dataset.link = link;
    this.copy.textContent = copied ? "Copied" : "Copy the address";
    this.#say(
      copied ? "Link copied" : "The link could not be copied; it stands in the address bar.",
    );
    setTimeout(() => {
      this.copy.textContent = "Copy link";
    }, 2000);
  }

  #say(text, visible = false) {
    this.live.textContent = text;
    this.live.classList.toggle("sr-only", !visible);
    this.live.classList.toggle("toast", visible);
    if (visible) setTimeout(() => this.live.classList.replace("toast", "sr-only"), 6000);
  }

  /** Draw the current view; a drawing that still runs is given up. */
  async refresh() {
    if (!this.started) return;
    this.#drawing?.abort();
    const drawing = new AbortController();
    this.#drawing = drawing;
    delete document.body.dataset.ready;
    this.progress.classList.add("busy");
    try {
      const name = await this.#draw(drawing.signal);
      if (drawing.signal.aborted) return;
      this.error.hide();
      document.body.dataset.ready = name;
    } catch (error) {
      if (drawing.signal.aborted || error.name === "AbortError") return;
      this.loading.hidden = true;
      this.panels.hidden = true;
      this.empty.hidden = true;
      this.error.show(error.message || String(error));
      document.body.dataset.ready = "error";
    } finally {
      if (this.#drawing === drawing) this.progress.classList.remove("busy");
    }
  }

  async #draw(signal) {
    const { runs } = await get("runs", {}, signal);
    signal.throwIfAborted();
    if (!this.#runsLoaded || this.runs !== runs) {
      this.runs = runs;
      this.#runsLoaded = true;
      assignRunStyles(runs.filter((run) => run.statistics.length).map((run) => run.run));
    }
    this.loading.hidden = true;
    const found = this.#choose();
    this.#tellProblems();
    if (!found) {
      this.panels.hidden = true;
      this.toolbar.hidden = true;
      this.empty.hidden = false;
      this.notices.show({ damage: [], step: [] });
      this.#showTabs();
      return "empty";
    }
    this.empty.hidden = true;
    this.toolbar.hidden = false;
    this.panels.hidden = false;
    Chart.subject = `${this.run.run}\n${this.statistic.name}`;
    this.#step = null;
    this.#showSelectors();
    const name = this.#showTabs();
    const view = this.views[name];
    view.element.setAttribute("aria-busy", "true");
    this.#showBadge(signal);
    await view.update(signal);
    signal.throwIfAborted();
    if (this.#step === null) this.notices.show({ step: [] });
    view.element.removeAttribute("aria-busy");
    return name;
  }

  /** Find the run and statistic that the state names, or the first there is. */
  #choose() {
    const usable = this.runs.filter((run) => run.statistics.length);
    const wanted = this.state.get("run");
    const output = this.state.get("stat");
    const run = usable.find((each) => runKey(each.run) === wanted) ?? usable[0] ?? null;
    const statistic =
      run?.statistics.find((each) => each.name === output) ?? run?.statistics[0] ?? null;
    const missing = (what, name, key, shown) => {
      if (!run || !name || name === key) return [];
      const text = [`The ${what} “`, nameElement(name), "” is not there; “", nameElement(shown)];
      return [[...text, "” is shown."]];
    };
    this.notices.show({
      run: missing("run", wanted, run && runKey(run.run), run?.run),
      output: missing("output", output, statistic?.name, statistic?.name),
    });
    this.run = run;
    this.statistic = statistic;
    if (!run) return false;
    // Kept, so that a run that appears later does not change what is shown, and links are complete.
    if (!wanted) this.state.set({ run: runKey(run.run) }, { silent: true });
    return true;
  }

  /** Problems of the run that is shown stand above it; those of others are there to be opened. */
  #tellProblems() {
    const own = this.runs.find((run) => run.run === this.run?.run);
    this.notices.show({ problems: own?.problems ?? [] });
    this.problems.show(this.runs.filter((run) => run !== own));
    // Where no run can be shown, they may be why.
    if (!this.run) this.problems.element.open = true;
  }

  /** Called by a view of one step: a link may have asked for one that is not kept. */
  tellStep(shown) {
    this.#step = shown;
    const wanted = this.state.number("step");
    this.notices.show({
      step:
        wanted === null || wanted === shown
          ? []
          : [`Step ${integer(wanted)} is not there; step ${integer(shown)} is shown.`],
    });
  }

  /** What names of files tell beside what is in them. */
  fileParts() {
    if (this.state.get("view") === "compare") return [];
    const step = this.#step === null ? [] : [`step_${this.#step}`];
    return [this.run.run, this.statistic.name, ...step];
  }

  #showSelectors() {
    const usable = this.runs.filter((run) => run.statistics.length);
    this.runSelect.set(
      usable.map((run) => ({ value: runKey(run.run), label: shorten(run.run, 80) || "(no name)" })),
      runKey(this.run.run),
    );
    this.statisticSelect.set(
      this.run.statistics.map((each) => ({ value: each.name, label: shorten(each.name, 80) })),
      this.statistic.name,
    );
    this.statisticSelect.root.hidden = this.run.statistics.length < 2;
    // In the comparison the runs are chosen in its own list.
    const comparing = this.state.get("view") === "compare";
    this.runSelect.root.classList.toggle("faded", comparing);
  }

  #showTabs() {
    const wanted = this.state.get("view");
    const current = this.tabs.has(wanted) ? wanted : "overview";
    for (const [name, tab] of this.tabs) {
      const selected = name === current;
      tab.setAttribute("aria-selected", String(selected));
      tab.tabIndex = selected ? 0 : -1;
      this.views[name].element.hidden = !selected;
    }
    return current;
  }

  /** Warnings show on the tab, so that nobody has to go looking for them. */
  async #showBadge(signal) {
    try {
      const { findings } = await get(
        "health",
        { run: this.run.run, statistic: this.statistic.name },
        signal,
      );
      if (signal.aborted) return;
      const damage = findings.filter(({ kind, severity }) => kind === "damaged" && severity !== "ok");
      this.notices.show({ damage: damage.map(({ title, text }) => `${title}. ${text}`) });
      const { warning } = countOf(findings);
      this.badge.hidden = warning === 0;
      fill(
        this.badge,
        String(warning),
        h("span", { class: "sr-only" }, warning === 1 ? " warning" : " warnings"),
      );
    } catch {
      // The Health view itself says what is wrong.
    }
  }
}

function loadStyle() {
  return new Promise((resolve) => {
    const link = document.createElement("link");
    link.rel = "stylesheet";
    link.href = "./static/style.css";
    // Without its style the page is ugly but works.
    link.addEventListener("load", resolve);
    link.addEventListener("error", resolve);
    document.head.append(link);
  });
}

/** Called by TensorBoard when the tab is first opened. */
export async function render() {
  // All at once: the library is large, and nothing can be drawn before it and the style are there.
  plotly().catch(() => {});
  await loadStyle();
  await new App().start();
}
