// The operator's view: rates, delay, what waits, and what sealing found.

import * as api from "./api.js";
import { makeChart } from "./chart.js";
import { fill, h, setText } from "./dom.js";
import { HOUR, MINUTE, rfc3339, wallOf } from "./time.js";
import { OUTCOMES, clock, many, moment, number, rate, sentence, signed, span, weekday } from "./words.js";

const LIVE_MS = 5000;
const REPORTS_MS = 30_000;
const RETRY_MS = 5000;
const UNTOLD = "not told here";

/** A figure with a word on whether it is as it should be: `well` is true, false or null (not told). */
const figure = (id, label) => {
  const value = h("p", { class: "tile-value", id: `operations-${id}` }, "–");
  const note = h("p", { class: "tile-note" });
  const root = h("div", { class: "tile", role: "group", "aria-label": label }, h("p", { class: "tile-label" }, label), value, note);
  return {
    root,
    show(text, said, well = null) {
      setText(value, text);
      value.classList.toggle("off", text === "–");
      setText(note, said);
      root.dataset.well = well === null ? "" : String(well);
    },
  };
};

export const operationsPage = (place, { tell }) => {
  const figures = {
    rate: figure("rate", "Clicks a second"), delay: figure("delay", "From click to count"), spill: figure("spill", "Spilled, waiting"), quarantine: figure("quarantine", "Quarantined in 24 h"), resort: figure("resort", "Last resort in 24 h"),
    sealed: figure("sealed", "Sealed up to"), disputed: figure("disputed", "Disputed hours"), drift: figure("drift", "Drift in 24 h"),
  };
  const verdict = h("p", { class: "verdict", role: "status" });
  const reports = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": "reports-title" });
  const chartText = h("p", { class: "hidden", id: "rate-text" });
  const chartPlace = h("div", { class: "chart", role: "img", "aria-labelledby": "rate-title rate-text" });
  const trouble = h("p", { class: "card trouble", hidden: true, role: "alert" });
  const group = (name, ...some) => h("section", { class: "card", "aria-label": name }, h("header", { class: "card-head" }, h("h2", {}, name)), h("div", { class: "tiles" }, some.map((key) => figures[key].root)));
  place.replaceChildren(
    h("div", { class: "toolbar" }, h("div", { class: "toolbar-row" }, h("h1", { class: "title" }, "Operations"), verdict)),
    trouble,
    group("Counting, now", "rate", "delay", "spill", "quarantine", "resort"),
    h("section", { class: "card" }, h("header", { class: "card-head" }, h("h2", { id: "rate-title" }, "Clicks by the minute, of the last hour")), chartPlace, chartText,
      h("ul", { class: "legend" }, [["valid", "valid"], ["invalid", "invalid"], ["live", "hatched: not final yet"]].map(([kind, text]) => h("li", {}, h("i", { class: `swatch ${kind}`, "aria-hidden": "true" }), text)))),
    group("Sealing", "sealed", "disputed", "drift"),
    h("section", { class: "card" }, h("header", { class: "card-head" }, h("h2", { id: "reports-title" }, "Hours of the last two days, as recounting found them")), reports),
  );
  document.title = "Operations · Clickledger";

  const chart = makeChart(chartPlace, {
    describe: (row) => ({ title: clock(row.wall), lines: [["Valid", number(row.valid), "valid"], ["Invalid", number(row.invalid), "invalid"]] }),
  });
  const showMinutes = ({ rows, totals }) => {
    chart.draw({ granularity: "minute", stacked: true, rows: rows.map((row) => ({ start: row.start, valid: row.clicks, invalid: row.invalid_clicks, final: row.final })) });
    setText(chartText, `${many(totals.clicks, "valid click")} and ${many(totals.invalid_clicks, "invalid one")} in the last hour.`);
  };

  let view = null;
  let timer = null;
  let reported_at = 0;
  const aborted = new AbortController();

  const show = (told) => {
    const { count_delay_ms: delay, spill, sealing } = told;
    const wrong = [];
    figures.rate.show(told.clicks_per_second === null ? "–" : rate(told.clicks_per_second), told.clicks_per_second === null ? UNTOLD : "over the last full minutes");
    const slow = delay && delay.p99 > 10_000;
    if (slow) wrong.push("counting is behind");
    figures.delay.show(delay ? span(delay.p50) : "–", delay ? `the slowest of a hundred: ${span(delay.p99)}` : "no click lately, or not told here", delay ? !slow : null);
    const waiting = spill?.waiting ?? null;
    if (waiting > 0) wrong.push(`${many(waiting, "click")} to be published`);
    figures.spill.show(waiting === null ? "–" : number(waiting), waiting === null ? UNTOLD : waiting ? `the oldest for ${spill.oldest_ms === null ? "?" : span(spill.oldest_ms)}; the stream refuses, or did` : "the stream takes every click", waiting === null ? null : waiting === 0);
    const count = (one, value, none, some) => {
      figures[one].show(value === null || value === undefined ? "–" : number(value), value === null || value === undefined ? UNTOLD : value ? some : none, value === null || value === undefined ? null : value === 0);
      return value > 0;
    };
    if (count("quarantine", told.quarantined_24h, "every record could be read", "records that can’t be read: kept, not counted")) wrong.push("records are in quarantine");
    if (count("resort", told.last_resort_24h, "no click went to the last-resort log", "clicks to be redriven from the log")) wrong.push("clicks wait in the last-resort log");
    const age = sealing?.age_seconds ?? null;
    const old = age !== null && age * 1000 > 2.5 * HOUR;
    if (old) wrong.push("sealing is behind");
    const until = sealing?.sealed_until ? wallOf(Date.parse(sealing.sealed_until), view.tz) : null;
    figures.sealed.show(until === null ? "–" : clock(until), until === null ? "no hour is sealed yet" : `${weekday(until)}${age === null ? "" : `, ${span(age * 1000)} ago`}`, age === null ? null : !old);
    if (count("disputed", sealing?.disputed_hours, "every recount could be believed", "their live counts stand until it is settled")) wrong.push("an hour is disputed");
    const drift = sealing?.drift_clicks_24h ?? null;
    figures.drift.show(drift === null ? "–" : number(drift), drift === null ? "no hour was recounted" : drift ? "clicks by which recounts and live counts differed; corrected" : "recounts and live counts agreed", drift === 0 ? true : null);
    setText(verdict, wrong.length ? `Needs a look: ${wrong.join("; ")}.` : "All is as it should be.");
    verdict.dataset.well = String(wrong.length === 0);
  };

  const showReports = ({ items }) => fill(reports, JSON.stringify([items, view.tz]), () => (items.length
    ? h("table", {},
      h("thead", {}, h("tr", {}, ["Hour", "Outcome", "Recounted", "Counted live", "Difference", "Corrections", "Detail"].map((name) => h("th", { scope: "col", class: ["Outcome", "Detail"].includes(name) ? "words" : null }, name)))),
      h("tbody", {}, items.toReversed().map((report) => h("tr", {},
        h("th", { scope: "row" }, moment(wallOf(Date.parse(report.hour), view.tz)), report.run === "hourly" ? null : h("small", {}, ` ${report.run.replace("_", " ")}`)),
        h("td", { class: "words" }, h("span", { class: `badge ${report.outcome}` }, OUTCOMES[report.outcome] ?? report.outcome)),
        h("td", {}, number(report.clicks_in_lake)),
        h("td", {}, number(report.clicks_counted)),
        h("td", { class: report.difference ? "bad" : "" }, report.difference ? signed(report.difference) : "0"),
        h("td", {}, number(report.corrections)),
        h("td", { class: "words" }, report.detail)))))
    : h("p", { class: "empty" }, "No hour has been looked at in the last two days.")));

  const load = async () => {
    clearTimeout(timer);
    let pause = LIVE_MS;
    try {
      const now = api.now();
      const fresh = reported_at + REPORTS_MS < Date.now();
      const end = Math.floor(now / MINUTE) * MINUTE + MINUTE;
      const asked = await Promise.allSettled([
        api.operations(aborted.signal).then(show),
        api.metrics({ entity: "total" }, { from: rfc3339(end - HOUR), to: rfc3339(end), tz: view.tz, granularity: "minute" }, aborted.signal).then(showMinutes),
        fresh && api.reconciliations({ from: rfc3339(now - 48 * HOUR), to: rfc3339(now + MINUTE) }, 1000, aborted.signal).then(showReports),
      ]);
      if (aborted.signal.aborted) return;
      if (fresh && asked[2].status === "fulfilled") reported_at = Date.now();
      place.setAttribute("aria-busy", "false");
      // What was answered is shown, whatever was not.
      const failed = asked.find(({ status }) => status === "rejected");
      if (failed) throw failed.reason;
      trouble.hidden = true;
      tell.state("live", "Live");
    } catch (error) {
      if (error.name === "AbortError") return;
      if (error.status === 401) {
        tell.expired();
        return;
      }
      tell.state("wait", "No answer; trying again");
      trouble.hidden = false;
      setText(trouble, `${sentence(error.message)} Trying again.`);
      pause = Math.max(RETRY_MS, error.retry_ms ?? 0);
    }
    if (!document.hidden) timer = setTimeout(load, pause);
  };
  const wake = () => {
    if (document.hidden) {
      clearTimeout(timer);
      tell.state("still", "Paused");
    } else load();
  };
  document.addEventListener("visibilitychange", wake);

  return {
    show(next) {
      view = next;
      reported_at = 0;
      load();
    },
    stop() {
      clearTimeout(timer);
      aborted.abort();
      chart.destroy();
      document.removeEventListener("visibilitychange", wake);
    },
  };
};
