// How far the counts are proved, in plain words, and what proving has changed.

import * as api from "./api.js";
import { fill, h, setText } from "./dom.js";
import { wallOf } from "./time.js";
import { CAUSES, VERDICTS, many, moment, signed, span } from "./words.js";

const MOST = 100;

/** The sentences for an answer's meta. `kind`: final, mixed, live or warn. */
const wordsOf = (meta, { rows, tz }) => {
  const states = new Set(meta.states ?? []);
  const said = [];
  let kind = meta.state === "incomplete" ? "warn" : meta.state;
  let title;
  if (meta.state === "final") {
    title = "Every count in this range is final";
    said.push(states.size === 1 && states.has("closed")
      ? "Each hour was counted again from the raw record, sealed, and is closed: these counts never change again."
      : "Each hour was counted again from the raw record of clicks, agreed or was corrected, and is sealed.");
  } else {
    const until = meta.final_until && wallOf(Date.parse(meta.final_until), tz);
    const later = !until && rows.some(({ final }) => final);
    title = until ? `Counts up to ${moment(until)} are final` : later ? "Some of these counts are final" : "These counts are live";
    said.push(until
      ? "They were counted again from the raw record of clicks and sealed. What came after is live: visible within seconds, proved soon after its hour has ended."
      : "Clicks are visible within seconds. Each hour is counted again from the raw record soon after it has ended, and is final then.");
    if (until && rows.some(({ final }, at) => final && rows.slice(0, at).some((row) => !row.final))) said.push("Some later hours are final already.");
  }
  if (states.has("dirty")) said.push("Some clicks came too late to be counted live; they are added when their hour is sealed.");
  if (states.has("disputed")) {
    kind = "warn";
    said.push("An hour in this range is disputed: its recount found fewer clicks than were counted and could not explain it. Its live counts stand until that is settled.");
  }
  if (states.has("incomplete") || meta.state === "incomplete") said.push("Some hours were never proved and their live counts are no longer kept: they are missing here, not zero.");
  return { kind, title, said };
};

const why = (before, after) => {
  const parts = [];
  const verdicts = new Set([...Object.keys(before.invalid_by_verdict), ...Object.keys(after.invalid_by_verdict)]);
  for (const verdict of verdicts) {
    const change = (after.invalid_by_verdict[verdict] ?? 0) - (before.invalid_by_verdict[verdict] ?? 0);
    if (change) parts.push(`${signed(change)} ${(VERDICTS[verdict]?.[0] ?? verdict).toLowerCase()}`);
  }
  return parts.join(", ");
};

export const makeProof = ({ session }) => {
  const title = h("h2", { id: "proof-title" }, "How far these counts are proved");
  const text = h("p", {});
  const drift = h("p", { class: "note" });
  const body = h("div", { class: "corrections" });
  const summary = h("summary", {}, "Corrections");
  const details = h("details", { hidden: true }, summary, body);
  const root = h("section", { class: "card proof", "aria-labelledby": "proof-title" }, h("span", { class: "seal", "aria-hidden": "true" }), h("div", {}, title, text, drift, details));

  return {
    root,
    show(meta, shown) {
      const { kind, title: head, said } = wordsOf(meta, shown);
      root.dataset.kind = kind;
      setText(title, head);
      setText(text, said.join(" "));
    },
    /** Asks what was corrected in the range, and how sealing stands. */
    async refresh({ view, range }, signal) {
      const off = session.scope === "publisher";
      const asked = { from: range.from, to: range.to, entity: view.entity, id: view.id };
      const [found, operations] = await Promise.all([
        off ? null : api.corrections(asked, MOST, signal).catch((error) => { if (error.status === 401 || error.name === "AbortError") throw error; return null; }),
        session.scope === "admin" ? api.operations(signal).catch((error) => { if (error.status === 401 || error.name === "AbortError") throw error; return null; }) : null,
      ]);
      if (signal.aborted) return;
      const lines = [];
      if (operations?.sealing?.sealed_until) lines.push(`Last seal: the hour up to ${moment(wallOf(Date.parse(operations.sealing.sealed_until), view.tz))}, ${span(operations.sealing.age_seconds * 1000)} ago.`);
      if (operations?.sealing?.disputed_hours) lines.push(`${many(operations.sealing.disputed_hours, "hour")} could not be recounted to what was counted: in dispute.`);
      if (operations?.sealing && operations.sealing.drift_clicks_24h !== null && operations.sealing.drift_clicks_24h !== undefined) {
        const clicks = operations.sealing.drift_clicks_24h;
        lines.push(clicks ? `In the last 24 hours the recounts differed from live counting by ${many(Math.abs(clicks), "click")} over all advertisers.` : "The recounts of the last 24 hours agreed with live counting to the click.");
      }
      if (found) {
        // They are listed by the hour, and a minute may have been corrected more than once.
        const within = ({ minute }) => Date.parse(minute) >= Date.parse(range.from) && Date.parse(minute) < Date.parse(range.to);
        const { more } = found;
        const items = found.items.filter(within);
        const minutes = new Set(items.map(({ minute }) => minute)).size;
        const net = items.reduce((sum, item) => sum + (item.adjustment ? 0 : item.after.clicks - item.before.clicks), 0);
        lines.push(items.length ? more ? `At least ${many(minutes, "minute")} in this range ${minutes === 1 ? "was" : "were"} corrected.` : `${many(minutes, "minute")} in this range ${minutes === 1 ? "was" : "were"} corrected: ${signed(net)} valid clicks in all.` : "Nothing in this range had to be corrected.");
        details.hidden = items.length === 0;
        setText(summary, more ? `The first ${items.length} corrections` : many(items.length, "correction"));
        fill(body, JSON.stringify([items, view.tz]), () => h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Corrections" }, h("table", {},
          h("thead", {}, h("tr", {}, ["Minute", "Valid before", "after", "Why"].map((name) => h("th", { scope: "col", class: name === "Why" ? "words" : null }, name)))),
          h("tbody", {}, items.map((item) => h("tr", {},
            h("th", { scope: "row" }, moment(wallOf(Date.parse(item.minute), view.tz))),
            h("td", {}, String(item.before.clicks)),
            h("td", {}, h("b", {}, String(item.after.clicks))),
            h("td", { class: "words" }, [CAUSES[item.cause] ?? item.cause, why(item.before, item.after), item.adjustment && "after closing: owed, not applied"].filter(Boolean).join("; "))))))));
      } else details.hidden = true;
      setText(drift, lines.join(" "));
    },
  };
};
