/**
 * What is shown: the state of the view, all of it text as in the address, so that a link restores it.
 */

/** What an absent key means. Only what differs is written into the address. */
const DEFAULTS = {
  view: "overview",
  run: "",
  stat: "",
  step: "", // empty: the last one, also when training goes on
  scale: "sqrt", // of colours: also "linear" and "log"
  plog: "", // "1": logarithmic heights of the chosen step's density
  mode: "both",
  smooth: "0.6",
  class: "",
  sort: "count",
  order: "desc",
  page: "1",
  size: "25",
  q: "",
  col: "count",
  ranklog: "",
  rankby: "count",
  many: "100",
  few: "20",
  runs: "", // JSON list of run keys; empty: the first few
  what: "before",
  a: "",
  b: "",
};

const WHOLE = /^\d{1,15}$/;

/** What a key may be; a link that was cut or edited falls back to the default instead of an error. */
const ALLOWED = {
  view: /^(overview|classes|compare|health)$/,
  step: WHOLE,
  scale: /^(sqrt|linear|log)$/,
  mode: /^(both|difference|before|after)$/,
  smooth: /^(0|0?\.\d+)$/,
  class: WHOLE,
  sort: /^(class|name|group|count|mass|mass_positive|mass_negative|positive_share|mean_norm|margin|mean_weight|recall)$/,
  order: /^(asc|desc)$/,
  page: /^[1-9]\d{0,6}$/,
  size: /^(25|50|100|200)$/,
  rankby: /^(count|self)$/,
  many: /^\d{1,12}$/,
  few: /^\d{1,12}$/,
  what: /^(before|after)$/,
};

const LONGEST_KEY = 200;

/**
 * A run's name as it stands in the address. Very long ones would make links that nothing accepts,
 * so they are represented by a checksum.
 */
export function runKey(name) {
  if (name.length <= LONGEST_KEY) return name;
  let sum = 0x811c9dc5;
  for (let index = 0; index < name.length; index += 1) {
    sum = Math.imul(sum ^ name.charCodeAt(index), 0x01000193);
  }
  return `~${(sum >>> 0).toString(16)}`;
}

export class State {
  #values = { ...DEFAULTS };
  #listeners = new Set();

  get(key) {
    return this.#values[key];
  }

  /** A whole number, or null where the text is none. */
  number(key) {
    const text = this.#values[key];
    const value = Number(text);
    return text === "" || !Number.isFinite(value) ? null : value;
  }

  /** Change some keys; listeners hear of it only if something differs. */
  set(changes, { silent = false } = {}) {
    const changed = [];
    for (const [key, value] of Object.entries(changes)) {
      const text = String(value ?? "");
      if (key in DEFAULTS && this.#values[key] !== text) {
        this.#values[key] = text;
        changed.push(key);
      }
    }
    if (changed.length && !silent) for (const listener of this.#listeners) listener(changed);
    return changed;
  }

  /** Take all keys from an address; absent ones return to their defaults. */
  load(entries, options) {
    const valid = Object.entries(entries).filter(
      ([key, value]) => ALLOWED[key]?.test(value) ?? true,
    );
    return this.set({ ...DEFAULTS, ...Object.fromEntries(valid) }, options);
  }

  /** The keys that differ from their defaults. */
  entries() {
    return Object.fromEntries(
      Object.entries(this.#values).filter(([key, value]) => value !== DEFAULTS[key]),
    );
  }

  listen(listener) {
    this.#listeners.add(listener);
  }
}
