/**
 * The page around this one: TensorBoard, if it is there. It holds the address bar, the theme and the
 * reload button. Everything here falls back to this frame alone when the parent is something else.
 */

const PLUGIN = "gradient_balance";
const PREFIX = `p.${PLUGIN}.`;
const PATIENCE = 1500; // milliseconds to wait for a host that may not be TensorBoard

/** The parent's window when it may be read, else null. */
function readableParent() {
  try {
    if (window.parent === window) return null;
    return window.parent.document.body ? window.parent : null;
  } catch {
    return null; // another origin
  }
}

/** Messages to and from TensorBoard: JSON over a port that is handed to the parent once. */
class Channel {
  #port;
  #next = 0;
  #waiting = new Map();
  #listeners = new Map();

  constructor(parent) {
    const channel = new MessageChannel();
    this.#port = channel.port1;
    this.#port.addEventListener("message", (event) => this.#receive(event.data));
    this.#port.start();
    // The port only goes to our own origin: another page must not speak for TensorBoard.
    parent.postMessage("experimental.bootstrap", window.location.origin, [channel.port2]);
  }

  #receive(text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return;
    }
    if (message.isReply) {
      const settle = this.#waiting.get(message.id);
      this.#waiting.delete(message.id);
      settle?.(message.error ? null : message.payload);
      return;
    }
    let error = null;
    try {
      this.#listeners.get(message.type)?.(message.payload);
    } catch (problem) {
      error = String(problem);
    }
    // The host waits for a reply of every frame it told.
    this.#port.postMessage(
      JSON.stringify({ type: message.type, id: message.id, payload: null, error, isReply: true }),
    );
  }

  listen(type, listener) {
    this.#listeners.set(type, listener);
  }

  /** Ask the host; null when it does not know the answer or does not answer in time. */
  ask(type) {
    const id = this.#next;
    this.#next += 1;
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        resolve(null);
      }, PATIENCE);
      this.#waiting.set(id, (payload) => {
        clearTimeout(timer);
        resolve(payload);
      });
      this.#port.postMessage(
        JSON.stringify({ type, id, payload: null, error: null, isReply: false }),
      );
    });
  }
}

function parseHash(hash) {
  const entries = {};
  let tab = null;
  for (const part of hash.replace(/^#/, "").split("&")) {
    const pieces = part.split("=");
    try {
      if (pieces.length === 1) tab = pieces[0];
      else entries[decodeURIComponent(pieces[0])] = decodeURIComponent(pieces.slice(1).join("="));
    } catch {
      // A part that is not valid percent-encoding was typed by hand: leave it out.
    }
  }
  return { tab, entries };
}

function formatHash(tab, entries) {
  const parts = Object.entries(entries).map(
    ([key, value]) => `${encodeURIComponent(key)}=${encodeURIComponent(value)}`,
  );
  return [...(tab ? [tab] : []), ...parts].join("&");
}

export class Host {
  #parent = readableParent();
  #channel = null;
  #isTensorBoard = false;
  #lastHash = null;

  constructor() {
    if (!this.#parent) return;
    try {
      this.#channel = new Channel(this.#parent);
    } catch {
      this.#channel = null;
    }
  }

  /** The state in the address, which also tells whether the parent is TensorBoard. */
  async load() {
    const answer = this.#channel ? await this.#channel.ask("experimental.GetURLPluginData") : null;
    // A busy host may answer too late; its global tells as well.
    this.#isTensorBoard = (answer !== null && typeof answer === "object") || this.#hasGlobal();
    return this.#read();
  }

  /** The names of all runs that TensorBoard knows, or null. It tells of no selection among them. */
  async runs() {
    const names = this.#isTensorBoard ? await this.#channel?.ask("experimental.GetRuns") : null;
    return Array.isArray(names) ? names : null;
  }

  /**
   * The window whose address bar a person sees. The hash itself is read rather than TensorBoard's
   * answer, which only follows hash changes that fire an event.
   */
  #window() {
    return this.#isTensorBoard ? this.#parent : window;
  }

  #read() {
    const { entries } = parseHash(this.#window().location.hash);
    this.#lastHash = this.#window().location.hash;
    return Object.fromEntries(
      Object.entries(entries)
        .filter(([key]) => key.startsWith(PREFIX))
        .map(([key, value]) => [key.slice(PREFIX.length), value]),
    );
  }

  /** Write the state into the address, leaving everything that is not ours as it is. */
  save(state) {
    try {
      const target = this.#window();
      const { tab, entries } = parseHash(target.location.hash);
      const kept = Object.entries(entries).filter(([key]) => !key.startsWith(PREFIX));
      const ours = Object.entries(state).map(([key, value]) => [PREFIX + key, value]);
      const hash = `#${formatHash(tab, Object.fromEntries([...kept, ...ours]))}`;
      if (hash === target.location.hash || (hash === "#" && !target.location.hash)) return;
      const url = new URL(target.location.href);
      url.hash = hash;
      // The router keeps its own data in history.state; replacing it would break back and forward.
      target.history.replaceState(target.history.state, "", url.toString());
      this.#lastHash = target.location.hash;
    } catch {
      // Browsers limit how often the address may change; the next change writes it.
    }
  }

  /** The address to copy. */
  link() {
    return this.#window().location.href;
  }

  /**
   * @param {{reloaded: Function, runs: Function, address: Function}} listeners `runs` gets all names
   *     that TensorBoard knows, `address` the state when a person changed the address.
   */
  listen({ reloaded, runs, address }) {
    this.#channel?.listen("experimental.DataReloaded", reloaded);
    this.#channel?.listen("experimental.RunsChanged", (names) => {
      if (Array.isArray(names)) runs(names);
    });
    const changed = () => {
      // Our own writing fires no event, but TensorBoard's for other tabs does.
      if (this.#window().location.hash === this.#lastHash) return;
      const { tab } = parseHash(this.#window().location.hash);
      if (this.#isTensorBoard && tab !== PLUGIN) return;
      address(this.#read());
    };
    // Which of the two holds the address is only known once the parent has answered.
    const windows = this.#parent ? [window, this.#parent] : [window];
    const types = ["hashchange", "popstate"];
    for (const each of windows) for (const type of types) each.addEventListener(type, changed);
    const stop = () => {
      for (const each of windows) for (const type of types) each.removeEventListener(type, changed);
    };
    window.addEventListener("pagehide", stop, { once: true });
  }

  /** Tell now and on every change whether the page is dark. */
  watchTheme(listener) {
    const media = window.matchMedia("(prefers-color-scheme: dark)");
    let last = null;
    const tell = () => {
      let dark = media.matches;
      try {
        // Another host says nothing about themes: there the system's preference decides.
        if (this.#parent && this.#looksLikeTensorBoard()) {
          dark = this.#parent.document.body.classList.contains("dark-mode");
        }
      } catch {
        // The parent went to another origin.
      }
      if (dark !== last) {
        last = dark;
        listener(dark);
      }
    };
    media.addEventListener("change", tell);
    if (this.#parent) {
      try {
        const observer = new MutationObserver(tell);
        observer.observe(this.#parent.document.body, {
          attributes: true,
          attributeFilter: ["class"],
        });
        window.addEventListener("pagehide", () => observer.disconnect(), { once: true });
      } catch {
        // Without the observer the theme is that of the first look.
      }
    }
    tell();
  }

  /** Known before the first answer: the theme must be right when the page first appears. */
  #looksLikeTensorBoard() {
    return this.#isTensorBoard || this.#hasGlobal();
  }

  #hasGlobal() {
    try {
      return this.#parent !== null && "tensorboard" in this.#parent;
    } catch {
      return false;
    }
  }
}
