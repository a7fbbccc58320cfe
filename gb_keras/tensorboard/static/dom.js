/**
 * Building elements. Names of runs and classes may hold anything, so text only ever reaches the
 * page as text nodes and attributes; nothing here (or elsewhere) parses HTML from data.
 */

/** Attributes that would run code if data reached them; the helper refuses them outright. */
const FORBIDDEN = /^(on|srcdoc$)/i;

/**
 * Create an element.
 *
 * @param {string} tag
 * @param {Object<string, *>} [attributes] `class`, `data-testid`, `aria-*`...; `on` is an object of
 *     listeners; false, null and undefined leave an attribute out, true sets it empty.
 * @param {...(Node|string|number|null|Array)} children
 * @returns {HTMLElement}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name === "on") {
      for (const [type, listener] of Object.entries(value))
        element.addEventListener(type, listener);
    } else if (name === "style") {
      Object.assign(element.style, value);
    } else if (FORBIDDEN.test(name)) {
      throw new Error(`attribute ${name} is not allowed`);
    } else if (value === true) {
      element.setAttribute(name, "");
    } else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, String(value));
    }
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/** Replace all children of an element. */
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

/** A name from the data, isolated so that right-to-left marks in it cannot reorder what follows. */
export function nameElement(name, { breaks = false } = {}) {
  const shown = String(name ?? "");
  const text = shorten(shown, 120) || "(no name)";
  // Runs are named like paths: where they must wrap, a line ends after a slash.
  const parts = breaks ? text.split(/(?<=\/)/).flatMap((part) => [part, h("wbr")]) : text;
  return h("bdi", { class: "name", title: shorten(shown, 300) }, parts);
}

/** Shorten a long text in the middle, since names of runs often differ at their ends. */
export function shorten(text, length) {
  const characters = Array.from(String(text));
  if (characters.length <= length) return characters.join("");
  const head = Math.ceil((length - 1) * 0.6);
  const tail = length - 1 - head;
  return (
    characters.slice(0, head).join("") + "…" + characters.slice(characters.length - tail).join("")
  );
}

/** A file's name of these parts, without what some system or shell would not take. */
export function fileName(...parts) {
  const safe = (text) =>
    Array.from(text.replace(/[^\p{L}\p{M}\p{N}._-]+/gu, "_").replace(/^[_.]+|_+$/g, ""))
      .slice(0, 60)
      .join("");
  return ["gradient_balance", ...parts.map(safe).filter(Boolean)].join("-");
}

/** A labelled native select. Options are `{value, label}`; setting them keeps the chosen value. */
export function select(testid, label, onchange, { wide = false } = {}) {
  const element = h("select", {
    id: testid,
    "data-testid": testid,
    class: wide ? "wide" : null,
    on: { change: () => onchange(element.value) },
  });
  const root = h("label", { class: "field" }, h("span", { class: "field-label" }, label), element);
  let key = null;
  return {
    element,
    root,
    /** @param {Array<{value: string, label: string}>} options */
    set(options, value) {
      const wanted = JSON.stringify(options);
      if (wanted !== key) {
        key = wanted;
        fill(
          element,
          options.map((option) => h("option", { value: option.value }, option.label)),
        );
      }
      element.value = value ?? "";
      element.title = options.find((option) => option.value === value)?.label ?? "";
    },
  };
}

/** Call `action` once things have been quiet for `delay` milliseconds. */
export function debounce(action, delay) {
  let timer = 0;
  const debounced = (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...values), delay);
  };
  debounced.cancel = () => clearTimeout(timer);
  return debounced;
}
