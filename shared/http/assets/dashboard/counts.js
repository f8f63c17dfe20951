// The view of counts: asks, draws, and asks again every two seconds while clicks may still come.
// Invariant: what is drawn together came from one answer; an answer to an older question is thrown away.

import * as api from "./api.js";
import { makeBreakdowns } from "./breakdowns.js";
import { makeChart } from "./chart.js";
import { download } from "./csv.js";
import { makeDirectory } from "./directory.js";
import { fill, h, say, select, setText } from "./dom.js";
import { makeProof } from "./proof.js";
import { makeTiles } from "./tiles.js";
import { DAY, HOUR, MINUTE, granularities, granularityOf, rangeBefore, rangeOf, rfc3339, wallIn, wallOf } from "./time.js";
import { makeToolbar } from "./toolbar.js";
import { filtered, filtersOf, homeOf } from "./view.js";
import { clock, date, day, many, moment, number, sentence, weekday } from "./words.js";

const LIVE_MS = 2000;
/** Answers of many rows are asked for less often. */
const LARGE_ROWS = 400;
const LARGE_MS = 10_000;
const STILL_MS = 60_000;
const RETRY_MS = 4000;
const BREAKDOWN_MS = 10_000;
const COMPARE_MS = 59_000;

/** Tells whoever measures the page when something was first there. */
const mark = (name) => {
  if (!performance.getEntriesByName(name).length) performance.mark(name);
};

export const countsPage = (place, { session, go, tell }) => {
  const directory = makeDirectory(session);
  const toolbar = makeToolbar({ session, directory, go });
  const tiles = makeTiles();
  const proof = makeProof({ session });
  let file = () => "clicks";
  const breakdowns = makeBreakdowns({ session, directory, go, named: (part) => file(part) });

  const chartTitle = h("h2", { id: "chart-title" }, "Clicks over time");
  const chartText = h("p", { class: "hidden", id: "chart-text" });
  const chartPlace = h("div", { class: "chart", role: "img", "aria-labelledby": "chart-title chart-text" });
  const legend = h("ul", { class: "legend" });
  const choices = h("div", { class: "chart-choices" });
  const save = h("button", { type: "button", class: "plain", id: "csv" }, "Download CSV");
  const table = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Clicks over time as a table" });
  const details = h("details", { class: "as-table", ontoggle: () => showTable() }, h("summary", {}, "Show as a table"), table);
  const main = h("section", { class: "card main", "aria-label": "Clicks" }, tiles.root,
    h("header", { class: "card-head chart-head" }, chartTitle, choices), chartPlace, chartText, legend, details);
  const trouble = h("section", { class: "card trouble", hidden: true, role: "alert" });
  const body = h("div", { class: "body" }, main, proof.root, breakdowns.root);
  place.replaceChildren(toolbar.root, trouble, body);

  const chart = makeChart(chartPlace, {
    onzoom: (first, last) => {
      const length = { minute: MINUTE, hour: HOUR, day: DAY }[drawn.granularity];
      const next = drawn.rows[drawn.rows.indexOf(last) + 1];
      go({ range: "custom", from: Date.parse(first.start), to: next ? Date.parse(next.start) : Date.parse(last.start) + length, by: undefined });
    },
    describe: (row) => describe(row),
  });

  let view = null;
  let drawn = null; // what is on the page: {rows, granularity, stacked, totals, comparison}
  let comparison = null;
  let compared_at = 0;
  let broken_down_at = 0;
  let timer = null;
  let running = null; // the AbortController of the question that is under way

  const title = (row) => {
    const wall = wallIn(row.start);
    if (drawn.granularity === "day") return weekday(wall);
    return drawn.granularity === "hour" ? `${weekday(wall)}, ${clock(wall)}` : moment(wall);
  };
  const describe = (row) => {
    const lines = row.valid === null ? [["not known", "–"]] : [["Valid", number(row.valid), "valid"]];
    if (drawn.stacked && row.valid !== null) lines.push(["Invalid", number(row.invalid), "invalid"]);
    if (row.before !== undefined && row.before !== null) lines.push([view.compare === "previous_year" ? "Year before" : "Before", number(row.before), "before"]);
    return { title: title(row), lines, note: row.final ? "" : "not final yet" };
  };

  const showTable = () => {
    if (!details.open || !drawn) return;
    const { rows, stacked, comparison: before } = drawn;
    const heads = ["From", "Valid", ...(stacked ? ["Invalid"] : []), ...(before ? ["Before"] : []), "Final"];
    fill(table, JSON.stringify(rows), () => h("table", {},
      h("caption", { class: "hidden" }, "Clicks over time"),
      h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))),
      h("tbody", {}, rows.toReversed().map((row) => h("tr", {}, h("th", { scope: "row" }, title(row)),
        h("td", {}, row.valid === null ? "–" : number(row.valid)),
        stacked && h("td", {}, row.valid === null ? "–" : number(row.invalid)),
        before && h("td", {}, row.before === null || row.before === undefined ? "–" : number(row.before)),
        h("td", {}, row.final ? "yes" : "not yet"))))));
  };

  const showLegend = () => {
    const any = (wanted) => drawn.rows.some(wanted);
    const items = [["valid", "valid"]];
    if (drawn.stacked) items.push(["invalid", "invalid"]);
    if (any((row) => !row.final)) items.push(["live", "hatched: not final yet"]);
    if (drawn.comparison) items.push(["before", `before: ${drawn.comparison.said}`]);
    fill(legend, JSON.stringify(items), () => [
      ...items.map(([kind, text]) => h("li", {}, h("i", { class: `swatch ${kind}`, "aria-hidden": "true" }), text)),
      h("li", { class: "hint", "aria-hidden": "true" }, "drag over the chart to look closer"),
    ]);
  };

  const showChoices = (range, granularity) => fill(choices, JSON.stringify([granularities(range).map(([, , ok]) => ok), granularity, view.compare]), () => [
    select("How long a row is", granularities(range).map(([name, text, ok]) => [name, text, !ok]), granularity, (by) => go({ by })),
    select("Compare with", [["previous_period", "vs. previous period"], ["previous_year", "vs. year before"], ["none", "no comparison"]], view.compare, (compare) => go({ compare })),
    save,
  ]);

  save.addEventListener("click", () => {
    if (!drawn) return;
    const { rows, stacked, comparison: before } = drawn;
    const columns = ["start", "clicks", ...(stacked ? ["invalid_clicks", "gross_clicks"] : []), "final", ...(before ? ["comparison_start", "comparison_clicks"] : [])];
    const invalid = (row) => (row.valid === null ? [null, null] : [row.invalid, row.valid + row.invalid]);
    download(file(drawn.granularity), columns, rows.map((row) => [row.start, row.valid, ...(stacked ? invalid(row) : []), row.final, ...(before ? [row.before_start, row.before] : [])]));
  });

  const show = (answer, range, granularity) => {
    const before = view.compare === "none" ? null : comparison;
    const stacked = !filtered(view);
    const grew = drawn && drawn.of === view && drawn.totals.clicks !== answer.totals.clicks;
    drawn = {
      of: view, granularity, stacked, totals: answer.totals, comparison: before,
      rows: answer.rows.map((row, at) => ({ start: row.start, valid: row.clicks, invalid: row.invalid_clicks ?? null, final: row.final, before: before?.rows[at]?.clicks, before_start: before?.rows[at]?.start })),
    };
    tiles.show(answer.totals, before?.totals ?? null);
    chart.draw(drawn);
    showLegend();
    showChoices(range, granularity);
    setText(chartTitle, granularity === "minute" ? "Clicks by the minute" : granularity === "hour" ? "Clicks by the hour" : "Clicks by the day");
    const peak = answer.totals.peak_minute;
    setText(chartText, `${many(answer.totals.clicks, "valid click")} from ${moment(wallIn(answer.rows[0]?.start ?? answer.meta.as_of))} on.${peak ? ` Most in one minute: ${peak.clicks}, ${moment(wallIn(peak.start))}.` : ""} The table below holds every row.`);
    showTable();
    proof.show(answer.meta, { rows: drawn.rows, tz: view.tz });
    breakdowns.showReasons(answer);
    if (grew) say(`${many(answer.totals.clicks, "valid click")}`, 15_000);
    file = (part) => `clickledger-${view.entity}${view.id ? `-${view.id}` : ""}-${part}-${answer.rows[0]?.start.slice(0, 10) ?? ""}.csv`;
    tell.state(range.live ? "live" : "still", range.live ? "Live" : `Up to ${date(wallIn(answer.rows.at(-1)?.start ?? answer.meta.as_of))}`);
  };

  const fail = (error) => {
    if (error.status === 401) {
      tell.expired();
      return;
    }
    const home = homeOf(session);
    const lost = error.status === 404 || error.status === 403;
    if (lost || error.status === 400 || error.status === 422) {
      // Not for good, perhaps: a range that ends now may have been asked for by a clock that was put right since.
      if (!lost) again(STILL_MS);
      body.hidden = true;
      trouble.hidden = false;
      tell.state("empty", "");
      fill(trouble, `${error.status} ${view.entity} ${view.id} ${error.message}`, () => [
        h("h2", {}, lost ? "Nothing to see here" : "This can’t be shown"),
        h("p", {}, lost ? `There is no ${view.entity} ${view.id ?? ""} that your key may see. It may belong to somebody else, or not exist: the answer is the same.` : sentence(error.message)),
        h("button", { type: "button", class: "strong", onclick: () => go({ ...home, range: "30d", by: undefined, device: [], country: [] }) }, `Back to ${directory.nameOf(home).toLowerCase()}`),
      ]);
      return;
    }
    tell.state("wait", error.status === 429 ? "Too many requests; waiting" : "No answer; trying again");
    again(Math.max(error.retry_ms ?? 0, RETRY_MS));
  };

  const again = (ms) => {
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(load, ms);
  };

  /** The range before, where it is wanted and what is known of it is too old. */
  const compare = async (range, ask, granularity, signal) => {
    if (view.compare === "none" || (comparison && Date.now() - compared_at <= COMPARE_MS)) return null;
    const before = rangeBefore(view, range);
    const answer = await api.metrics(view, { ...ask, from: rfc3339(before.from), to: rfc3339(before.to), granularity }, signal);
    const [first, last] = [wallOf(before.from, view.tz), wallOf(before.to - MINUTE, view.tz)];
    const said = range.to - range.from > DAY ? `${day(first)} – ${day(last)}` : `${moment(first)} – ${moment(last)}`;
    return { ...answer, said };
  };

  const load = async () => {
    running?.abort();
    running = new AbortController();
    const { signal } = running;
    const asked = view;
    const range = rangeOf(view, api.now());
    const granularity = granularityOf(view, range);
    const ask = { from: rfc3339(range.from), to: rfc3339(range.to), tz: view.tz, ...filtersOf(view) };
    try {
      // What has ended may still be corrected: what stands beside a count is of the same minute.
      const fresh = broken_down_at + (range.live ? BREAKDOWN_MS : COMPARE_MS) < Date.now();
      const [answer, compared] = await Promise.all([api.metrics(view, { ...ask, granularity }, signal), compare(range, ask, granularity, signal)]);
      if (signal.aborted || asked !== view) return;
      if (compared) [comparison, compared_at] = [compared, Date.now()];
      trouble.hidden = true;
      body.hidden = false;
      show(answer, range, granularity);
      place.setAttribute("aria-busy", "false");
      mark("counts");
      if (fresh) {
        broken_down_at = Date.now();
        await Promise.all([breakdowns.refresh(ask, { view, totals: answer.totals }, signal), proof.refresh({ view, range: { from: ask.from, to: ask.to } }, signal)]);
        if (asked === view) toolbar.show(view);
        mark("breakdowns");
      }
      if (signal.aborted) return;
      again(!range.live ? STILL_MS : answer.rows.length > LARGE_ROWS ? LARGE_MS : LIVE_MS);
    } catch (error) {
      if (error.name !== "AbortError" && asked === view) fail(error);
    }
  };

  const names = async () => {
    const asked = view;
    if (view.entity === "ad") await directory.ad(view.id).catch(() => null);
    if (view.entity === "placement") await directory.placements().catch(() => null);
    if (asked === view) toolbar.show(view);
  };

  // A tab that nobody looks at asks for nothing; whoever comes back sees the newest at once.
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
      comparison = null;
      broken_down_at = 0;
      place.setAttribute("aria-busy", "true");
      breakdowns.clear();
      toolbar.show(view);
      if (view.entity !== "total" && !view.id) {
        fail(new api.ApiError(404, { detail: "This key sees no placement." }));
        return;
      }
      names();
      load();
    },
    stop() {
      clearTimeout(timer);
      running?.abort();
      document.removeEventListener("visibilitychange", wake);
      chart.destroy();
      view = null;
    },
  };
};
