// What is looked at, as it stands in the address: everything that can be linked to, and nothing else.
// Invariant: whatever stands in an address becomes a view that can be asked for, or the default in its place.

import { RANGES, browserZone, knownZone, ofField, toField } from "./time.js";
import { DEVICES } from "./words.js";

// The largest that the API knows.
const LAST_ID = 2n ** 63n - 1n;
const isId = (text) => /^[1-9]\d{0,18}$/.test(text) && BigInt(text) <= LAST_ID;
const ENTITY_KEYS = ["advertiser", "campaign", "ad", "placement"];
const COMPARISONS = ["previous_period", "previous_year", "none"];

/** What a session sees first. */
export const homeOf = (session) => {
  if (session.scope === "advertiser") return { entity: "advertiser", id: session.advertiser_id };
  if (session.scope === "publisher") return { entity: "placement", id: session.placement_ids?.[0] };
  return { entity: "total", id: undefined };
};

export const read = (hash, session) => {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const tz = knownZone(given.get("tz") ?? "") && given.get("tz") ? given.get("tz") : browserZone();
  const view = {
    page: given.get("view") === "operations" && session.scope === "admin" ? "operations" : "counts",
    ...homeOf(session),
    range: "30d",
    from: undefined,
    to: undefined,
    by: ["minute", "hour", "day"].includes(given.get("by")) ? given.get("by") : undefined,
    tz,
    compare: COMPARISONS.includes(given.get("compare")) ? given.get("compare") : "previous_period",
    device: list(given.get("device")).filter((device) => Object.hasOwn(DEVICES, device)),
    country: list(given.get("country")).filter((code) => /^[A-Z]{2}$/.test(code)),
  };
  for (const entity of ENTITY_KEYS) {
    if (isId(given.get(entity) ?? "")) Object.assign(view, { entity, id: given.get(entity) });
  }
  if (Object.hasOwn(RANGES, given.get("range") ?? "")) view.range = given.get("range");
  const [from, to] = [ofField(given.get("from") ?? "", tz), ofField(given.get("to") ?? "", tz)];
  if (from < to) Object.assign(view, { range: "custom", from, to });
  return view;
};

export const write = (view, session) => {
  const said = new URLSearchParams();
  const home = homeOf(session);
  if (view.page === "operations") said.set("view", "operations");
  if (view.entity !== "total" && (view.entity !== home.entity || view.id !== home.id)) said.set(view.entity, view.id);
  if (view.range === "custom") {
    said.set("from", toField(view.from, view.tz));
    said.set("to", toField(view.to, view.tz));
  } else if (view.range !== "30d") said.set("range", view.range);
  if (view.by) said.set("by", view.by);
  if (view.tz !== browserZone() || view.range === "custom") said.set("tz", view.tz);
  if (view.compare !== "previous_period") said.set("compare", view.compare);
  for (const filter of ["device", "country"]) if (view[filter].length) said.set(filter, view[filter].join(","));
  // Readable: neither a colon nor a comma needs to be hidden in a fragment.
  const text = said.toString().replaceAll("%2C", ",").replaceAll("%3A", ":").replaceAll("%2F", "/");
  return text ? `#${text}` : "#";
};

const list = (text) => [...new Set((text ?? "").split(",").filter(Boolean))];

export const filtered = (view) => view.device.length > 0 || view.country.length > 0;

/** The filters as the API takes them. */
export const filtersOf = (view) => ({ device: view.device.join(","), country: view.country.join(",") });
