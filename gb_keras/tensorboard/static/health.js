/** Health: what the server checked, and what it advises. */

import { get } from "./api.js";
import { fill, h, nameElement } from "./dom.js";
import { integer, known, short } from "./format.js";

/** A sign and a word each: colour alone would not tell everybody. */
const SEVERITIES = {
  warning: { sign: "▲", word: "Warning" },
  info: { sign: "i", word: "Note" },
  ok: { sign: "✓", word: "Fine" },
};
const ORDER = ["warning", "info", "ok"];

export class Health {
  #app;
  #shown = null;

  constructor(app) {
    this.#app = app;
    this.summary = h("p", { class: "sentence", "aria-live": "polite" });
    this.list = h("ul", { class: "findings", "data-testid": "health-list" });
    this.element = h(
      "div",
      { class: "view health" },
      h("section", { class: "card summary" }, this.summary),
      this.list,
    );
  }

  get answer() {
    return this.#shown;
  }

  async update(signal) {
    const { run, statistic } = this.#app;
    const answer = await get("health", { run: run.run, statistic: statistic.name }, signal);
    signal.throwIfAborted();
    if (answer === this.#shown) return;
    this.#shown = answer;
    const findings = sorted(answer.findings);
    const count = countOf(findings);
    this.summary.textContent = findings.length
      ? `At step ${integer(answer.step)}: ${amount(count.warning, "warning")}, ${amount(count.info, "note")}, ${count.ok || "nothing"} fine.`
      : "Nothing could be checked yet.";
    fill(
      this.list,
      findings.map((finding) => this.#card(finding)),
    );
  }

  #card(finding) {
    const severity = SEVERITIES[finding.severity] ? finding.severity : "info";
    const { sign, word } = SEVERITIES[severity];
    return h(
      "li",
      {
        class: `card finding finding-${severity}`,
        "data-kind": finding.kind,
        "data-severity": severity,
      },
      h(
        "header",
        {},
        h(
          "span",
          { class: "severity" },
          h("span", { class: "sign", "aria-hidden": "true" }, sign),
          word,
        ),
        h("h3", {}, finding.title),
      ),
      h("p", {}, finding.text),
      finding.advice &&
        h("p", { class: "advice" }, h("strong", {}, "What to do: "), finding.advice),
      finding.classes?.length > 0 &&
        finding.number_of_class &&
        h("p", { class: "muted" }, `Classes, each with its ${finding.number_of_class}:`),
      finding.classes?.length > 0 &&
        h(
          "ul",
          { class: "chips", "aria-label": "Classes concerned" },
          finding.classes.map((entry) =>
            h(
              "li",
              {},
              h(
                "button",
                {
                  type: "button",
                  class: "chip",
                  "data-class": entry.class,
                  on: { click: () => this.#app.set({ view: "classes", class: entry.class }) },
                },
                nameElement(entry.name),
                known(entry.value) &&
                  h(
                    "span",
                    { class: "chip-value", title: finding.number_of_class ?? "" },
                    short(entry.value),
                  ),
              ),
            ),
          ),
          finding.num_left_out > 0 &&
            h("li", { class: "muted" }, `and ${integer(finding.num_left_out)} more`),
        ),
    );
  }
}

function amount(count, noun) {
  return count === 1 ? `1 ${noun}` : `${count || "no"} ${noun}s`;
}

function sorted(findings) {
  return [...findings].sort((a, b) => ORDER.indexOf(a.severity) - ORDER.indexOf(b.severity));
}

/** How many findings there are of each severity. */
export function countOf(findings) {
  const count = { warning: 0, info: 0, ok: 0 };
  for (const finding of findings) count[finding.severity] = (count[finding.severity] ?? 0) + 1;
  return count;
}
