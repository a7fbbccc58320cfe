/**
 * Requests to the server. Addresses are relative to the page's base, so that a path prefix works.
 * Answers are kept until the host says that data was reloaded: moving back and forth costs nothing.
 */

const KEPT_ANSWERS = 120;

/** An answer of the server that says what went wrong, in its own words. */
export class ServerError extends Error {
  constructor(message, status) {
    super(message);
    this.name = "ServerError";
    this.status = status;
  }
}

/** @type {Map<string, Promise<Object>>} */
const answers = new Map();

/** The last text of each address and what it was parsed to. */
const parsed = new Map();

/** Ask for everything anew; the browser holds answers with their ETags, so unchanged ones are cheap. */
export function forget() {
  answers.clear();
}

/** Parse an answer. One that did not change stays the same object, so that nothing is drawn again. */
async function parse(url, response) {
  const text = await response.text();
  const before = parsed.get(url);
  if (before?.text === text) return before.value;
  const value = JSON.parse(text);
  parsed.delete(url);
  parsed.set(url, { text, value });
  if (parsed.size > KEPT_ANSWERS) parsed.delete(parsed.keys().next().value);
  return value;
}

/** The relative address of a route, leaving out parameters without a value. */
export function address(route, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== "") query.set(name, String(value));
  }
  const text = query.toString();
  return text ? `./${route}?${text}` : `./${route}`;
}

async function request(url, signal) {
  let response;
  try {
    response = await fetch(url, { signal, credentials: "same-origin" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError(
      "TensorBoard does not answer. Check that it is still running, then retry.",
      0,
    );
  }
  if (!response.ok) throw new ServerError(await problem(response), response.status);
  return response;
}

async function problem(response) {
  try {
    const body = await response.json();
    if (typeof body.error === "string" && body.error) return body.error;
  } catch {
    // Not JSON: a proxy or TensorBoard itself answered, which says nothing more than the status.
  }
  return `TensorBoard answered with HTTP status ${response.status}.`;
}

/**
 * Fetch JSON.
 *
 * @param {string} route
 * @param {Object<string, *>} parameters
 * @param {AbortSignal} [signal] of the drawing that asks; an aborted answer is not kept.
 * @returns {Promise<Object>}
 */
export function get(route, parameters, signal) {
  const url = address(route, parameters);
  if (answers.has(url)) return answers.get(url);
  const answer = request(url, signal).then((response) => parse(url, response));
  const drop = () => {
    if (answers.get(url) === answer) answers.delete(url);
  };
  // Dropped at once on abort, not when the rejection arrives: the next drawing may ask before that.
  signal?.addEventListener("abort", drop, { once: true });
  answer.then(() => signal?.removeEventListener("abort", drop), drop);
  answers.set(url, answer);
  if (answers.size > KEPT_ANSWERS) answers.delete(answers.keys().next().value);
  return answer;
}

/** All pages of a table as the server writes them for download, joined. */
export async function table(parameters) {
  const parts = [];
  let pages = 1;
  for (let page = 1; page <= pages; page += 1) {
    const response = await request(address("download", { ...parameters, page }));
    pages = Number(response.headers.get("X-Num-Pages")) || 1;
    parts.push(await response.text());
  }
  return parameters.format === "json" ? joinJson(parts) : joinCsv(parts);
}

function joinCsv(parts) {
  // Every page starts with the same header line; only the first one's is kept.
  return parts
    .map((part, index) => (index === 0 ? part : part.slice(part.indexOf("\n") + 1)))
    .map((part) => (part.endsWith("\n") ? part : `${part}\n`))
    .join("");
}

function joinJson(parts) {
  if (parts.length === 1) return parts[0];
  const pages = parts.map((part) => JSON.parse(part));
  if (Array.isArray(pages[0])) return JSON.stringify(pages.flat());
  // What counts the pages would be wrong of the whole.
  const { page: _page, page_size: _size, num_pages: _count, ...head } = pages[0];
  return JSON.stringify({ ...head, rows: pages.flatMap((page) => page.rows ?? []) });
}
