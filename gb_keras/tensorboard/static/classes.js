/** Classes: which ones starve. A table that the server pages, a ranking, and one class in detail. */

import { get } from "./api.js";
import { Chart } from "./charts.js";
import { debounce, fill, h, nameElement, select } from "./dom.js";
import { ClassDetail } from "./detail.js";
import { exact, fixed, integer, known, percent, short } from "./format.js";
import { rankingFigure } from "./ranking.js";

/** How each column is called in the table and, where there is room, in full; and what it holds. */
export const COLUMNS = {
  class: { label: "#", hint: "Index of the class" },
  name: { label: "Class", hint: "Name of the class" },
  group: { label: "Group", hint: "Many, medium or few samples per epoch, by the limits above" },
  count: {
    label: "Seen",
    full: "Samples seen",
    hint: "Samples seen since the start of training, all epochs together",
  },
  mass: { label: "Mass", hint: "Sum of |gradient| of the class's logit per batch" },
  mass_positive: { label: "Mass, pull up", hint: "From the class's own samples" },
  mass_negative: { label: "Mass, push down", hint: "From the samples of other classes" },
  positive_share: {
    label: "Pull up / push down",
    hint: "Share of the mass from own samples (blue) and from others (orange)",
  },
  mean_norm: {
    label: "Mean norm",
    hint: "Mean gradient norm of the class's samples: 0 easy, 1 wrong",
  },
  margin: { label: "Margin", hint: "Shift of the class's logit inside the loss" },
  mean_weight: { label: "Mean weight", hint: "Mean weight of the class's samples in the loss" },
  recall: { label: "Recall", hint: "Part of the class's samples that the model gets right" },
};

/** The two halves of the mass are in the bar; as columns they would only repeat it. */
const HIDDEN = new Set(["mass_positive", "mass_negative"]);
const TEXT = new Set(["name", "group"]);
const FIXED = new Set(["margin", "mean_weight"]);
const BARS = new Set(["mean_norm", "recall"]);
const TYPING = 250;
const LIMIT = /^\d{1,12}$/; // of samples, which are whole

const fullName = (column) => COLUMNS[column].full ?? COLUMNS[column].label;

export class Classes {
  #app;
  #answer = null;
  #columns = [];

  constructor(app) {
    this.#app = app;
    this.search = h("input", {
      type: "search",
      id: "classes-search",
      "data-testid": "classes-search",
      placeholder: "name or index",
      maxlength: 200,
      on: { input: debounce(() => app.set({ q: this.search.value, page: 1 }), TYPING) },
    });
    const limit = (key, title) =>
      h("input", {
        type: "number",
        id: `limit-${key}`,
        "data-testid": `limit-${key}`,
        min: 0,
        class: "number",
        "aria-label": title,
        title,
        on: {
          change: ({ target }) => {
            if (LIMIT.test(target.value)) app.set({ [key]: Number(target.value), page: 1 });
            else target.value = app.state.get(key);
          },
        },
      });
    this.many = limit("many", "Classes with more samples per epoch than this are the many");
    this.few = limit("few", "Classes with fewer samples per epoch than this are the few");
    this.step = h("span", { class: "step-chip" });
    this.size = select("page-size", "Rows", (value) => app.set({ size: value, page: 1 }));
    this.previous = this.#pageButton("classes-previous", "‹ Previous", -1);
    this.next = this.#pageButton("classes-next", "Next ›", 1);
    this.position = h("span", {
      class: "position",
      "data-testid": "classes-position",
      "aria-live": "polite",
    });
    this.head = h("tr");
    this.body = h("tbody");
    this.table = h(
      "table",
      { class: "classes", "data-testid": "classes-table" },
      h("caption", { class: "sr-only" }, "Classes. Enter on a row opens the class."),
      h("thead", {}, this.head),
      this.body,
    );
    this.ranking = new Chart({
      id: "ranking-chart",
      title: "Ranking",
      height: 300,
      tools: this.#rankingTools(),
    });
    this.ranking.on("click", (point) => {
      const chosen = this.#points?.[point.customdata?.[0]]?.class;
      if (chosen !== null && chosen !== undefined) app.set({ class: chosen });
    });
    this.detail = new ClassDetail(app);
    this.element = h(
      "div",
      { class: "view classes-view" },
      h(
        "section",
        { class: "card table-card", "aria-label": "Table of classes" },
        h(
          "div",
          { class: "table-tools" },
          h(
            "label",
            { class: "field", for: "classes-search" },
            h("span", { class: "field-label" }, "Search"),
            this.search,
          ),
          h(
            "span",
            { class: "field" },
            h("span", { class: "field-label", title: this.many.title }, "many >"),
            this.many,
            h("span", { class: "field-label", title: this.few.title }, "few <"),
            this.few,
          ),
          this.step,
        ),
        h("div", { class: "table-scroll" }, this.table),
        h(
          "nav",
          { class: "pager", "aria-label": "Pages of the table" },
          this.position,
          this.size.root,
          this.previous,
          this.next,
        ),
      ),
      h("div", { class: "classes-side" }, this.ranking.element, this.detail.element),
    );
  }

  #points = null;

  #rankingTools() {
    const app = this.#app;
    this.column = select("ranking-column", "Column", (value) => app.set({ col: value }));
    this.orderBy = select("ranking-order", "by", (value) => app.set({ rankby: value }));
    this.log = h("input", {
      type: "checkbox",
      id: "ranking-log",
      "data-testid": "ranking-log",
      on: { change: () => app.set({ ranklog: this.log.checked ? "1" : "0" }) },
    });
    return [this.column.root, this.orderBy.root, h("label", { class: "field" }, this.log, " log")];
  }

  #pageButton(testid, label, direction) {
    return h(
      "button",
      {
        type: "button",
        "data-testid": testid,
        on: {
          click: () => this.#app.set({ page: (this.#answer?.page ?? 1) + direction }),
        },
      },
      label,
    );
  }

  async update(signal) {
    const { state, run, statistic } = this.#app;
    const query = { run: run.run, statistic: statistic.name, step: state.get("step") };
    const limits = { many: state.get("many"), few: state.get("few") };
    if (document.activeElement !== this.search) this.search.value = state.get("q");
    this.many.value = state.get("many");
    this.few.value = state.get("few");
    this.size.set(
      [25, 50, 100, 200].map((size) => ({ value: String(size), label: String(size) })),
      state.get("size"),
    );
    const detail = this.detail.update(signal);
    const table = get(
      "classes",
      {
        ...query,
        ...limits,
        sort: state.get("sort"),
        order: state.get("order"),
        page: state.get("page"),
        page_size: state.get("size"),
        search: state.get("q"),
      },
      signal,
    );
    // Both are awaited below; until then a failure must not count as unhandled.
    detail.catch(() => {});
    const answer = await table;
    signal.throwIfAborted();
    if (answer.num_pages >= 1 && state.number("page") > answer.num_pages) {
      this.#app.set({ page: answer.num_pages });
      return;
    }
    this.#app.tellStep(answer.step);
    this.#showTable(answer);
    await this.#showRanking(query, limits, signal);
    await detail;
  }

  /** For downloads: what the table shows now. */
  get answer() {
    return this.#answer;
  }

  #showTable(answer) {
    const { state } = this.#app;
    const columns = answer.columns.filter((column) => column in COLUMNS && !HIDDEN.has(column));
    this.#showHead(columns);
    if (answer !== this.#answer) {
      this.#answer = answer;
      fill(
        this.body,
        answer.rows.map((row) => this.#row(row, columns)),
      );
      if (!answer.rows.length) {
        fill(
          this.body,
          h(
            "tr",
            {},
            h("td", { class: "empty", colspan: columns.length }, "No class matches the search."),
          ),
        );
      }
    }
    this.#markChosen();
    const first = (answer.page - 1) * answer.page_size + 1;
    const last = first + answer.rows.length - 1;
    const found =
      answer.matching === answer.num_classes
        ? "classes"
        : `found among ${integer(answer.num_classes)} classes`;
    this.position.textContent = answer.rows.length
      ? `${integer(first)}–${integer(last)} of ${integer(answer.matching)} ${found}`
      : `0 ${found}`;
    this.previous.disabled = answer.page <= 1;
    this.next.disabled = answer.page >= answer.num_pages;
    const chosen = state.get("step");
    fill(
      this.step,
      `step ${integer(answer.step)}`,
      chosen !== "" &&
        h(
          "button",
          { type: "button", class: "quiet", on: { click: () => this.#app.set({ step: "" }) } },
          "show the last",
        ),
    );
  }

  #showHead(columns) {
    const { state } = this.#app;
    const key = columns.join();
    if (this.#columns.join() !== key) {
      this.#columns = columns;
      this.#answer = null;
      fill(
        this.head,
        columns.map((column) =>
          h(
            "th",
            { scope: "col", class: `column-${column}`, "data-column": column },
            h(
              "button",
              {
                type: "button",
                title: COLUMNS[column].hint,
                on: { click: () => this.#sort(column) },
              },
              COLUMNS[column].label,
              h("span", { class: "arrow", "aria-hidden": "true" }),
            ),
          ),
        ),
      );
    }
    for (const cell of this.head.children) {
      const sorted = cell.dataset.column === state.get("sort");
      const ascending = state.get("order") === "asc";
      cell.setAttribute("aria-sort", sorted ? (ascending ? "ascending" : "descending") : "none");
      cell.querySelector(".arrow").textContent = sorted ? (ascending ? "▲" : "▼") : "";
    }
  }

  #sort(column) {
    const { state } = this.#app;
    const first = TEXT.has(column) || column === "class" ? "asc" : "desc";
    const other = first === "asc" ? "desc" : "asc";
    const order = state.get("sort") === column && state.get("order") === first ? other : first;
    this.#app.set({ sort: column, order, page: 1 });
  }

  #row(row, columns) {
    const open = () => this.#app.set({ class: row.class });
    const element = h(
      "tr",
      {
        tabindex: 0,
        "data-class": row.class,
        on: {
          click: open,
          keydown: (event) => {
            if (event.key === "Enter" || event.key === " ") {
              event.preventDefault();
              open();
            } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
              event.preventDefault();
              const next =
                event.key === "ArrowDown"
                  ? element.nextElementSibling
                  : element.previousElementSibling;
              next?.focus();
            }
          },
        },
      },
      columns.map((column) => this.#cell(row, column)),
    );
    return element;
  }

  #cell(row, column) {
    const value = row[column];
    if (column === "name")
      return h("th", { scope: "row", class: "column-name" }, nameElement(value));
    if (column === "group")
      return h(
        "td",
        { class: "column-group" },
        value && h("span", { class: `group group-${value}` }, value),
      );
    if (column === "class") return h("td", { class: "number-cell muted" }, integer(value));
    if (column === "positive_share")
      return h("td", { class: "column-positive_share" }, shareBar(row));
    if (BARS.has(column)) {
      return h(
        "td",
        { class: "number-cell bar-cell", title: exact(value) },
        known(value) &&
          h("span", {
            class: "cell-bar",
            style: { width: `${Math.max(0, Math.min(1, value)) * 100}%` },
          }),
        h(
          "span",
          { class: "cell-value" },
          column === "recall" ? percent(value) : known(value) ? value.toFixed(3) : "–",
        ),
      );
    }
    return h(
      "td",
      { class: "number-cell", title: exact(value) },
      FIXED.has(column) ? fixed(value) : short(value),
    );
  }

  #markChosen() {
    const chosen = this.#app.state.get("class");
    for (const row of this.body.children) {
      if (row.dataset.class === chosen && chosen !== "") row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    }
  }

  async #showRanking(query, limits, signal) {
    const { state } = this.#app;
    const columns = this.#answer.columns.filter(
      (column) => column in COLUMNS && column !== "class" && !TEXT.has(column),
    );
    const column = columns.includes(state.get("col")) ? state.get("col") : columns[0];
    if (!column) {
      this.ranking.say("No numbers by class were logged.");
      return;
    }
    const orderBy = state.get("rankby") === "self" || !columns.includes("count") ? column : "count";
    this.column.set(
      columns.map((name) => ({ value: name, label: fullName(name).toLowerCase() })),
      column,
    );
    this.column.element.title = COLUMNS[column].hint;
    this.orderBy.set(
      [
        { value: "count", label: "samples seen" },
        { value: "self", label: "itself" },
      ],
      state.get("rankby") === "self" ? "self" : "count",
    );
    const ranking = await get(
      "ranking",
      { ...query, ...limits, column, order_by: orderBy },
      signal,
    );
    signal.throwIfAborted();
    this.#points = ranking.points;
    const positive =
      ranking.points.every((point) => point.min >= 0 || point.min === null) &&
      ranking.points.some((point) => point.max > 0);
    // Counts of a long tail only show on a logarithmic scale, so that is where they start.
    const wanted =
      state.get("ranklog") === ""
        ? column === "count" || column.startsWith("mass")
        : state.get("ranklog") === "1";
    const logarithmic = wanted && positive;
    this.log.checked = logarithmic;
    this.log.disabled = !positive;
    if (!ranking.points.length) {
      this.ranking.say("This column was not logged.");
      return;
    }
    this.ranking.setTitle(`${fullName(column)} of all classes`);
    // Only where each class has a point of its own is the chosen one marked.
    const marked = ranking.points.some((point) => String(point.class) === state.get("class"));
    const chosen = marked ? state.number("class") : null;
    await this.ranking.draw([ranking, logarithmic, chosen], (look) =>
      rankingFigure(look, {
        ranking,
        logarithmic,
        label: fullName(column),
        orderLabel: fullName(orderBy),
        chosen,
      }),
    );
  }
}

/** The share of the mass that pulls a class's logit up, as a bar of two colours. */
function shareBar(row) {
  const share = row.positive_share;
  if (!known(share)) return "–";
  const parts = [
    known(row.mass_positive) ? ` (${short(row.mass_positive)})` : "",
    known(row.mass_negative) ? ` (${short(row.mass_negative)})` : "",
  ];
  const text = `pull up ${percent(share)}${parts[0]}, push down ${percent(1 - share)}${parts[1]}`;
  return h(
    "span",
    { class: "share", title: text, role: "img", "aria-label": text },
    h(
      "span",
      { class: "share-bar" },
      h("span", { class: "share-positive", style: { width: `${share * 100}%` } }),
    ),
    h("span", { class: "share-value", "aria-hidden": "true" }, percent(share)),
  );
}
