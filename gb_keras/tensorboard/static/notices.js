/** What is shown when there is nothing to show: no data yet, an error, or problems with the data. */

import { fill, h, nameElement } from "./dom.js";
import { integer } from "./format.js";

const EXAMPLE = `import gb_keras, keras

(images, labels), _ = keras.datasets.mnist.load_data()
model = keras.Sequential([
    keras.layers.Rescaling(1 / 255),
    keras.layers.Flatten(),
    keras.layers.Dense(10),
])
model = gb_keras.GradientBalancedModel.from_model(model)
model.compile(
    optimizer="adam",
    loss=gb_keras.GradientBalancedLoss(
        keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    ),
)
model.fit(
    images,
    labels,
    epochs=5,
    callbacks=[gb_keras.callbacks.GradientBalanceTensorBoard("logs")],
)
`;

export function emptyState() {
  return h(
    "section",
    { class: "card notice", "data-testid": "empty-state", hidden: true },
    h("h2", {}, "No gradient statistics yet"),
    h(
      "p",
      {},
      "None of the runs that TensorBoard reads holds data of this tab. Add the callback to ",
      h("code", {}, "fit"),
      ":",
    ),
    h(
      "pre",
      { class: "code" },
      h("code", {}, 'callbacks=[gb_keras.callbacks.GradientBalanceTensorBoard("logs")]'),
    ),
    h("p", {}, "A complete example:"),
    h("pre", { class: "code" }, h("code", {}, EXAMPLE)),
    h(
      "p",
      {},
      "Then start TensorBoard on the same directory, ",
      h("code", {}, "tensorboard --logdir logs"),
      ", and reload. A model that is not balanced can be observed with the same callback.",
    ),
  );
}

export function errorState(retry) {
  const message = h("p", { class: "error-message", "data-testid": "error-message" });
  const element = h(
    "section",
    {
      class: "card notice notice-error",
      "data-testid": "error-state",
      role: "alert",
      hidden: true,
    },
    h(
      "h2",
      {},
      h("span", { class: "sign", "aria-hidden": "true" }, "▲ "),
      "This could not be loaded",
    ),
    message,
    h(
      "button",
      { type: "button", class: "primary", "data-testid": "retry", on: { click: retry } },
      "Retry",
    ),
  );
  return {
    element,
    show(text) {
      message.textContent = text;
      element.hidden = false;
    },
    hide() {
      element.hidden = true;
    },
  };
}

/** What a person should know of what is shown: where it is not what a link asked for, or damaged. */
export function noticeBar() {
  const list = h("ul");
  const element = h(
    "section",
    { class: "banner", "data-testid": "notices", role: "status", hidden: true },
    list,
  );
  const notices = new Map();
  return {
    element,
    /** @param {Object<string, Array>} changes by subject, the contents of each notice about it */
    show(changes) {
      for (const [subject, contents] of Object.entries(changes)) notices.set(subject, contents);
      const items = [...notices.values()].flat().map((content) => h("li", {}, content));
      element.hidden = items.length === 0;
      // What says the same is left alone, so that it is not read out at each step of the slider.
      const text = (nodes) => Array.from(nodes, (node) => node.textContent).join("\n");
      if (text(items) !== text(list.children)) fill(list, items);
    },
  };
}

/** Messages of the server about the other runs that it could not read in full. */
export function otherProblems() {
  const title = h("summary");
  const list = h("ul");
  const element = h(
    "details",
    { class: "banner", "data-testid": "other-problems", hidden: true },
    title,
    list,
  );
  return {
    element,
    /** @param {Array<Object>} runs as the server lists them */
    show(runs) {
      const entries = runs.flatMap((run) => run.problems.map((text) => ({ run: run.run, text })));
      element.hidden = entries.length === 0;
      title.textContent = `Problems with the data of other runs (${integer(entries.length)})`;
      const shown = entries.slice(0, 50);
      fill(
        list,
        shown.map(({ run, text }) => h("li", {}, nameElement(run), ": ", text)),
        entries.length > shown.length && h("li", {}, `and ${entries.length - shown.length} more`),
      );
    },
  };
}
