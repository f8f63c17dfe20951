// The API as this page asks it: by the session's cookie, relative to where the page lies.
// Invariant: whoever gets a value from here got a 2xx answer; everything else is thrown as an `ApiError`.

export class ApiError extends Error {
  constructor(status, problem, retry_ms) {
    super(problem?.detail || (status ? `The server answered ${status}.` : "The server does not answer."));
    this.status = status;
    this.kind = problem?.type?.replace("/problems/", "") ?? "";
    this.retry_ms = retry_ms;
  }
}

// Ranges end now by the server's clock: this machine's may be off by more than the API forgives.
let ahead_ms = 0;
export const now = () => Date.now() + ahead_ms;

const setClock = (response) => {
  const said = Date.parse(response.headers.get("date") ?? "");
  const off = said - Date.now();
  // Dates are whole seconds, and an answer takes its time to come.
  ahead_ms = Number.isFinite(off) && Math.abs(off) > 2500 ? off : 0;
};

const ask = async (path, { query, body, method, signal } = {}) => {
  const text = query ? `?${new URLSearchParams(Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== ""))}` : "";
  const init = { method: method ?? (body ? "POST" : "GET"), headers: { Accept: "application/json" }, credentials: "same-origin", signal };
  if (body) {
    init.headers["Content-Type"] = "application/json";
    init.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path + text, init);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0);
  }
  setClock(response);
  if (!response.ok) {
    const problem = await response.json().catch(() => null);
    const seconds = Number(response.headers.get("retry-after"));
    throw new ApiError(response.status, problem, Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : 0);
  }
  return response.status === 204 ? null : response.json();
};

export const session = {
  get: () => ask("dashboard/session"),
  start: (key) => ask("dashboard/session", { body: { key } }),
  end: () => ask("dashboard/session", { method: "DELETE" }),
};

const PLURAL = { ad: "ads", campaign: "campaigns", advertiser: "advertisers", placement: "placements" };

/** Where the counts of an entity are. */
const metricsPath = (entity, id) => (entity === "total" ? "v1/metrics/total" : `v1/${PLURAL[entity]}/${encodeURIComponent(id)}/metrics`);

export const metrics = ({ entity, id }, query, signal) => ask(metricsPath(entity, id), { query, signal });

const LISTS = ["device", "country", "metrics"];

/** The same question of many entities in one request; each answer has `totals` or a `problem`. */
export const metricsOfMany = async (entities, asked, signal) => {
  // In an address a list is a text with commas, in a body it is a list.
  const query = Object.fromEntries(Object.entries(asked).map(([name, value]) => [name, LISTS.includes(name) ? value.split(",") : value]));
  const results = [];
  for (let at = 0; at < entities.length; at += 100) {
    const answer = await ask("v1/metrics/query", { body: { entities: entities.slice(at, at + 100), ...query }, signal });
    results.push(...answer.results);
  }
  return results;
};

/** A list, page by page, up to `most` items. */
const list = async (path, query, most, signal) => {
  const items = [];
  let cursor;
  do {
    const page = await ask(path, { query: { ...query, limit: Math.min(1000, most - items.length), cursor }, signal });
    items.push(...page.items);
    cursor = page.next_cursor;
  } while (cursor && items.length < most);
  return { items, more: Boolean(cursor) };
};

export const ad = (id, signal) => ask(`v1/ads/${encodeURIComponent(id)}`, { signal });
export const ads = (query, most, signal) => list("v1/ads", query, most, signal);
export const advertisers = (most, signal) => list("v1/advertisers", {}, most, signal);
export const campaigns = (query, most, signal) => list("v1/campaigns", query, most, signal);
export const placements = (most, signal) => list("v1/placements", {}, most, signal);
export const corrections = (query, most, signal) => list("v1/corrections", query, most, signal);
export const reconciliations = (query, most, signal) => list("v1/reconciliations", query, most, signal);
export const operations = (signal) => ask("v1/operations", { signal });
