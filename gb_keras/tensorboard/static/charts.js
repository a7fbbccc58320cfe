/** Charts: one card each, drawn by Plotly, with a summary in words and buttons for pictures. */

import { fileName, h, shorten } from "./dom.js";

const CONFIG = {
  displaylogo: false,
  displayModeBar: "hover",
  responsive: false, // the card's own observer also sees changes of the page's layout
  scrollZoom: false,
  modeBarButtons: [["zoomIn2d", "zoomOut2d", "resetScale2d"]],
};

let library = null;

/** Load Plotly once, as a classic script of our own origin. */
export function plotly() {
  library ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "./static/plotly.min.js";
    script.async = true;
    script.addEventListener("load", () => {
      if (window.Plotly) resolve(window.Plotly);
      else reject(new Error("The charting library was loaded but did not start."));
    });
    script.addEventListener("error", () => {
      library = null;
      script.remove();
      reject(new Error("The charting library ./static/plotly.min.js could not be loaded."));
    });
    document.head.append(script);
  });
  return library;
}

/**
 * A name for use in a chart. Plotly reads a small subset of HTML in texts, and control characters
 * and direction marks would reorder or break a label, so all of these are taken out of their role.
 */
export function chartText(name, length = 40) {
  const plain = String(name ?? "").replace(
    /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]+/g,
    " ",
  );
  const text = shorten(plain, length)
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll("%{", "%\u200b{"); // must not start a template
  return text.trim() ? text : "(no name)";
}

let pen = null;

/** A name for use in a chart that takes at most so many pixels. */
export function fitText(name, width) {
  pen ??= document.createElement("canvas").getContext("2d");
  pen.font = '12px Roboto, "Helvetica Neue", Arial, sans-serif';
  const text = shorten(name ?? "", 200);
  let length = Array.from(text).length;
  while (length > 4 && pen.measureText(shorten(text, length)).width > width)
    length -= Math.max(1, Math.floor(length / 12));
  return chartText(text, length);
}

/** The page's colours, so that charts follow its theme. */
export function theme() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(name).trim();
  return {
    dark: document.documentElement.classList.contains("dark"),
    text: read("--text"),
    muted: read("--muted"),
    surface: read("--surface"),
    grid: read("--grid"),
    accent: read("--accent"),
    line: read("--line"),
  };
}

const axis = (look) => ({
  gridcolor: look.grid,
  zerolinecolor: look.grid,
  linecolor: look.line,
  tickcolor: look.line,
  ticks: "outside",
  ticklen: 3,
  tickfont: { size: 11, color: look.muted },
  title: { font: { size: 12, color: look.muted }, standoff: 6 },
  exponentformat: "SI",
});

/** An axis that looks like all others. */
export function makeAxis(look, title, options = {}) {
  const base = axis(look);
  return { ...base, ...options, title: { ...base.title, text: title } };
}

/** For axes whose labels always fit: Plotly need not measure each of them, which takes long. */
export const FITTING = { ticklabeloverflow: "allow" };

/** The axis of gradient norms, always whole. */
export function normAxis(look, title = "gradient norm", options = {}) {
  return makeAxis(look, title, {
    ...FITTING,
    range: [0, 1],
    dtick: 0.2,
    zeroline: false,
    showgrid: false,
    ...options,
  });
}

/** The horizontal axis of a heat map over steps. */
export function stepAxis(look, steps) {
  // Around a single step Plotly would name places where there is none.
  const ticks = steps.length === 1 ? { tickvals: steps } : {};
  return makeAxis(look, "step", { ...FITTING, showgrid: false, zeroline: false, ...ticks });
}

function makeLayout(look, layout) {
  return {
    paper_bgcolor: look.surface,
    plot_bgcolor: look.surface,
    font: { family: 'Roboto, "Helvetica Neue", Arial, sans-serif', size: 12, color: look.text },
    margin: { l: 52, r: 14, t: 30, b: 40 }, // the mode bar stands in the upper margin
    dragmode: "zoom",
    hovermode: "closest",
    hoverlabel: {
      bgcolor: look.surface,
      bordercolor: look.line,
      font: { family: 'Roboto, "Helvetica Neue", Arial, sans-serif', size: 12, color: look.text },
      namelength: 60,
    },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: look.muted, activecolor: look.accent },
    legend: {
      orientation: "h",
      x: 0,
      xanchor: "left",
      y: 1.02,
      yanchor: "bottom",
      traceorder: "normal",
      font: { size: 12, color: look.text },
      bgcolor: "rgba(0,0,0,0)",
    },
    showlegend: false,
    ...layout,
  };
}

/** A label above a subplot. `domain` is its horizontal extent in [0, 1]. */
export function subplotTitle(look, text, x, y = 1, options = {}) {
  return {
    text,
    x,
    y,
    xref: "paper",
    yref: "paper",
    xanchor: "left",
    yanchor: "bottom",
    showarrow: false,
    font: { size: 12, color: look.text },
    ...options,
  };
}

/** A vertical line at a step, in each of the given x axes. */
export function stepLines(look, step, axes = ["x"]) {
  return axes.map((xref) => ({
    type: "line",
    xref,
    yref: "paper",
    x0: step,
    x1: step,
    y0: 0,
    y1: 1,
    line: { color: look.accent, width: 1.5 },
  }));
}

const same = (a, b) =>
  a && a.length === b.length && a.every((value, index) => Object.is(value, b[index]));

export class Chart {
  /** What all charts are about: zooming is kept while it stays the same, also when data is reloaded. */
  static subject = "";
  /** @type {function(): string[]} what the names of pictures tell: the run, its output and the step */
  static parts = () => [];

  #plot;
  #summary;
  #note;
  #title;
  #figure = null;
  #drawn = null;
  #size = "";
  #handlers = {};
  #busy = Promise.resolve();

  /**
   * @param {{id: string, title: string, hint?: string, height?: number|string, tools?: Node[]}} options
   */
  constructor({ id, title, hint = "", height = 320, tools = [] }) {
    this.id = id;
    this.#title = title;
    this.heading = h("h3", {}, title);
    this.hint = h("span", { class: "hint" }, hint);
    this.#plot = h("div", {
      class: "plot",
      role: "img",
      style: { height: typeof height === "number" ? `${height}px` : height },
    });
    this.#summary = h("p", { class: "sr-only", id: `${id}-summary` });
    this.#note = h("p", { class: "chart-note", hidden: true });
    const picture = (format) =>
      h(
        "button",
        {
          type: "button",
          class: "quiet",
          "data-testid": `${id}-${format}`,
          "aria-label": `Download the chart "${title}" as ${format.toUpperCase()}`,
          title: `Download as ${format.toUpperCase()}`,
          on: { click: () => this.download(format) },
        },
        format.toUpperCase(),
      );
    this.element = h(
      "section",
      { class: "card chart", "data-testid": id, "aria-labelledby": `${id}-title` },
      h(
        "header",
        { class: "card-header" },
        h("div", { class: "card-title" }, this.heading, this.hint),
        h("div", { class: "card-tools" }, tools, picture("png"), picture("svg")),
      ),
      this.#note,
      this.#plot,
      this.#summary,
    );
    this.heading.id = `${id}-title`;
    this.#plot.setAttribute("aria-describedby", `${id}-summary`);
    new ResizeObserver(() => this.#resize()).observe(this.#plot);
  }

  /** The parent gets the width; a chart that was hidden meanwhile is brought up to it. */
  #resize() {
    const { clientWidth, clientHeight } = this.#plot;
    const size = `${clientWidth}x${clientHeight}`;
    if (!this.#drawn || !clientWidth || size === this.#size || this.#plot.hidden) return;
    this.#size = size;
    // A frame later: an observer must not change the layout that it observes.
    requestAnimationFrame(() => {
      const width = this.#plot.clientWidth;
      const height = this.#plot.clientHeight;
      if (!width || !this.#figure) return;
      Object.assign(this.#figure.layout, { width, height });
      window.Plotly.relayout(this.#plot, { width, height });
    });
  }

  setTitle(title) {
    this.#title = title;
    this.heading.textContent = title;
  }

  setHeight(height) {
    this.#plot.style.height = `${height}px`;
  }

  on(type, handler) {
    this.#handlers[type] = handler;
  }

  /** Say in place of the chart why there is none. */
  say(text) {
    this.#note.textContent = text;
    this.#note.hidden = false;
    this.#plot.hidden = true;
    this.#summary.textContent = text;
    this.#drawn = null;
  }

  /**
   * Draw, unless nothing that the drawing depends on has changed.
   *
   * @param {Array} dependencies compared by identity
   * @param {function(Object): {data: Array, layout: Object, summary: string, picture?: Object}} build
   *     gets the theme and the width in pixels; `picture` holds what a downloaded picture has beyond the layout
   */
  async draw(dependencies, build) {
    const look = { ...theme(), width: this.#plot.clientWidth };
    const key = [look.dark, ...dependencies];
    if (same(this.#drawn, key)) return;
    const Plotly = await plotly();
    const { data, layout, summary, picture } = build(look);
    this.#note.hidden = true;
    this.#plot.hidden = false;
    this.#drawn = key;
    // Sizes are given, not found out by Plotly, which would keep an old height when it draws again.
    const { clientWidth: width, clientHeight: height } = this.#plot;
    this.#figure = {
      data,
      layout: makeLayout(look, {
        ...layout,
        width,
        height,
        uirevision: `${Chart.subject}\n${layout.uirevision ?? ""}`,
      }),
      picture,
    };
    this.#summary.textContent = summary;
    this.#plot.setAttribute("aria-label", `${this.#title}. ${summary}`);
    const first = !this.#plot.on;
    this.#size = `${width}x${height}`;
    // One after the other: Plotly does not like a second drawing while the first one runs.
    const figure = this.#figure;
    this.#busy = this.#busy
      .catch(() => {})
      .then(() =>
        this.#figure === figure
          ? Plotly.react(this.#plot, figure.data, figure.layout, CONFIG)
          : null,
      );
    await this.#busy;
    if (first && this.#plot.on) {
      this.#plot.on("plotly_click", (event) => this.#handlers.click?.(event.points[0], event));
      this.#plot.on("plotly_relayout", (event) => this.#handlers.relayout?.(event));
    }
  }

  /** Move the lines that mark a step, without drawing anything else. */
  mark(shapes) {
    if (!this.#figure || this.#plot.hidden || !this.#plot.on) return;
    this.#figure.layout.shapes = shapes;
    window.Plotly.relayout(this.#plot, { shapes });
  }

  async download(format) {
    if (!this.#figure || this.#plot.hidden) return;
    const Plotly = await plotly();
    const look = theme();
    const { clientWidth, clientHeight } = this.#plot;
    const margin = { ...this.#figure.layout.margin, ...this.#figure.picture?.margin };
    const extra = margin.t - this.#figure.layout.margin.t + 34;
    await Plotly.downloadImage(
      {
        data: this.#figure.data,
        layout: {
          ...this.#figure.layout,
          ...this.#figure.picture,
          width: undefined,
          height: undefined,
          // On the page the title stands in the card; a picture must carry it.
          title: {
            text: chartText(this.#title, 90),
            font: { size: 15, color: look.text },
            x: 0.01,
            xanchor: "left",
            y: 0.985,
            yanchor: "top",
          },
          margin: { ...margin, t: margin.t + 34 },
        },
      },
      {
        format,
        width: Math.max(clientWidth, 480),
        height: clientHeight + extra,
        scale: format === "png" ? 2 : 1,
        filename: fileName(this.id.replaceAll("-", "_"), ...Chart.parts()),
      },
    );
  }
}
