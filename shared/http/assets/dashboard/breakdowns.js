// The cards that break the range's clicks down: lists with bars, whose rows filter or lead on.

import * as api from "./api.js";
import { download } from "./csv.js";
import { h, setText } from "./dom.js";
import { DEVICES, VERDICTS, country, number, sentence, share } from "./words.js";

const AT_FIRST = 8;
const TOP = 10;
const MOST_COMPARED = 300;

/** A card of rows {key, label, note, clicks, act, on, spoken}. */
const makeCard = (id, title) => {
  const list = h("ul", { class: "rows" });
  const empty = h("p", { class: "empty" });
  const more = h("button", { type: "button", class: "quiet more", hidden: true, onclick: () => { all = !all; render(); } });
  const save = h("button", { type: "button", class: "quiet", "aria-label": `Download ${title.toLowerCase()} as CSV` }, "CSV");
  const heading = h("h2", { id: `card-${id}` }, title);
  const root = h("section", { class: "card", "aria-labelledby": `card-${id}`, "data-card": id }, h("header", { class: "card-head" }, heading, save), list, empty, more);
  const items = new Map();
  let all = false;
  let data = { rows: [] };

  const item = (row) => {
    if (!items.has(row.key)) {
      const [fill, label, note, count, part] = [h("span", { class: "row-fill" }), h("span", { class: "row-label" }), h("small", {}), h("b", { class: "row-count" }), h("span", { class: "row-share" })];
      const does = row.act ? h("span", { class: "hidden" }) : null;
      const name = row.act ? "button" : "div";
      const made = { fill, label, note, count, part, does, act: row.act };
      made.body = h(name, { class: "row", "data-key": row.key, type: row.act ? "button" : null, onclick: row.act ? () => made.act() : null }, fill, h("span", { class: "row-text" }, label, " ", note), " ", count, " ", part, does);
      made.root = h("li", {}, made.body);
      items.set(row.key, made);
    }
    return items.get(row.key);
  };

  const render = () => {
    const { rows, total, said } = data;
    const shown = all ? rows : rows.slice(0, AT_FIRST);
    const most = Math.max(1, ...rows.map(({ clicks }) => clicks));
    const wanted = shown.map((row) => {
      const made = item(row);
      made.act = row.act;
      made.fill.style.width = `${(100 * row.clicks) / most}%`;
      setText(made.label, row.label);
      setText(made.note, row.note ?? "");
      setText(made.count, number(row.clicks));
      made.count.dataset.count = row.clicks;
      setText(made.part, total ? share(row.clicks / total) : "");
      if (row.act) {
        setText(made.does, ` of the valid clicks. ${row.spoken}`);
        if (row.on !== undefined) made.body.setAttribute("aria-pressed", String(row.on));
      }
      return made.root;
    });
    // Rows that are there already are moved, not made anew: what has the focus keeps it.
    if (wanted.length !== list.childElementCount || wanted.some((root, at) => list.children[at] !== root)) {
      const focus = list.contains(document.activeElement) ? document.activeElement : null;
      list.replaceChildren(...wanted);
      focus?.focus({ preventScroll: true });
    }
    setText(empty, rows.length ? "" : said ?? "No clicks in this range.");
    empty.hidden = rows.length > 0;
    more.hidden = rows.length <= AT_FIRST;
    setText(more, all ? "Show fewer" : `Show all ${rows.length}`);
  };

  return {
    root,
    show(next) {
      data = next;
      root.hidden = Boolean(next.absent);
      save.hidden = !next.rows.length;
      if (next.title) {
        setText(heading, next.title);
        save.setAttribute("aria-label", `Download ${next.title.toLowerCase()} as CSV`);
      }
      save.onclick = () => download(next.file, next.columns, next.rows.map(next.cells));
      root.setAttribute("aria-busy", "false");
      render();
    },
    busy() {
      root.setAttribute("aria-busy", "true");
    },
    clear() {
      items.clear();
      all = false;
    },
  };
};

const toggled = (list, one) => (list.includes(one) ? list.filter((other) => other !== one) : [...list, one]);

export const makeBreakdowns = ({ session, directory, go, named }) => {
  const top = makeCard("top", "Top ads");
  const reasons = makeCard("reasons", "Invalid clicks by reason");
  const devices = makeCard("device", "Devices");
  const countries = makeCard("country", "Countries");
  const places = makeCard("placement", "Placements");
  // By columns, so that short cards leave no holes beside long ones.
  const columns = [[top, devices, places], [reasons, countries]];
  const cards = columns.flat();

  const byCell = async (dimension, ask, { view }, signal) => {
    const answer = await api.metrics(view, { ...ask, group_by: dimension, granularity: "total", metrics: "clicks", [dimension]: "" }, signal);
    const label = dimension === "device" ? (key) => DEVICES[key] ?? key : country;
    const rows = answer.rows.filter(({ clicks }) => clicks > 0).map((row) => {
      const key = row[dimension];
      const on = view[dimension].includes(key);
      return { key, label: label(key), note: dimension === "country" ? key : "", clicks: row.clicks, on, spoken: on ? "Remove this filter." : `Filter by ${label(key)}.`, act: () => go({ [dimension]: toggled(view[dimension], key) }) };
    });
    rows.sort((a, b) => b.clicks - a.clicks);
    return { rows, total: answer.totals.clicks, file: named(dimension), columns: [dimension, "clicks"], cells: (row) => [row.key, row.clicks] };
  };

  const led = (entity, key, label, clicks, note) => ({ key, label, note, clicks, spoken: `Show this ${entity} alone.`, act: () => go({ entity, id: key }) });

  /** The entities with most clicks, where the API has no breakdown of its own: each is asked for, in one request. */
  const compared = async (entity, ids, ask, label, signal) => {
    const asked = ids.slice(0, MOST_COMPARED).map((id) => ({ entity, id }));
    const results = asked.length ? await api.metricsOfMany(asked, { ...plain(ask), granularity: "total", metrics: "clicks" }, signal) : [];
    const rows = results.filter(({ totals }) => totals?.clicks > 0).map(({ id, totals }) => led(entity, id, label(id), totals.clicks));
    rows.sort((a, b) => b.clicks - a.clicks);
    return { rows, file: named(`${entity}s`), columns: [`${entity}_id`, entity, "clicks"], cells: (row) => [row.key, row.label, row.clicks] };
  };

  const topOf = async (ask, { view, totals }, signal) => {
    if (view.entity === "advertiser" || view.entity === "campaign") {
      const answer = await api.metrics(view, { ...ask, group_by: "ad", granularity: "total", metrics: "clicks", order: "-clicks", limit: TOP }, signal);
      const rows = answer.rows.filter(({ clicks }) => clicks > 0);
      await directory.learn(rows.map((row) => row.ad), view, signal);
      return {
        title: "Top ads", total: totals.clicks, file: named("ads"), columns: ["ad_id", "title", "clicks"], cells: (row) => [row.key, row.label, row.clicks],
        rows: rows.map((row) => {
          const known = directory.known(row.ad);
          return led("ad", row.ad, directory.titleOf(row.ad), row.clicks, [known && view.entity === "advertiser" && `campaign ${known.campaign_id}`, known && known.status !== "active" && known.status].filter(Boolean).join(" · "));
        }),
      };
    }
    if (view.entity === "total") {
      const { items } = await api.advertisers(MOST_COMPARED, signal);
      const title = items.length < MOST_COMPARED ? "Top advertisers" : `Top of the first ${MOST_COMPARED} advertisers`;
      return { title, total: totals.clicks, ...await compared("advertiser", items.map((item) => item.advertiser_id), ask, (id) => `Advertiser ${id}`, signal) };
    }
    return { absent: true, rows: [] };
  };

  const placesOf = async (ask, { view, totals }, signal) => {
    if (view.entity === "total") {
      const slots = await directory.placements(signal);
      const title = slots.length > MOST_COMPARED ? `Placements, of the first ${MOST_COMPARED}` : "Placements";
      return { title, total: totals.clicks, ...await compared("placement", slots.map((slot) => slot.placement_id), ask, directory.slotOf, signal) };
    }
    if (view.entity === "placement" && session.scope === "publisher" && session.placement_ids?.length > 1) {
      await directory.placements(signal);
      return { title: "Your placements", ...await compared("placement", session.placement_ids, ask, directory.slotOf, signal) };
    }
    if (view.entity !== "advertiser") return { absent: true, rows: [] };
    // Rows lead nowhere: no question has a filter by placement, and a placement's own counts are its publisher's.
    const answer = await api.metrics(view, { ...ask, group_by: "placement", granularity: "total", metrics: "clicks", order: "-clicks", limit: 100 }, signal);
    await directory.placements(signal);
    const rows = answer.rows.filter(({ clicks }) => clicks > 0);
    return {
      title: "Placements, sealed hours only", rows: rows.map((row) => ({ key: row.placement, label: directory.slotOf(row.placement), clicks: row.clicks })),
      total: answer.totals.clicks, said: "No click in this range has been sealed yet.", file: named("placements"), columns: ["placement_id", "placement", "clicks"], cells: (row) => [row.key, row.label, row.clicks],
    };
  };

  const reasonsOf = ({ totals }) => {
    const counts = totals.invalid_by_verdict;
    const rows = Object.entries(counts ?? {}).filter(([, clicks]) => clicks > 0).map(([key, clicks]) => ({ key, label: VERDICTS[key]?.[0] ?? key, note: VERDICTS[key]?.[1], clicks }));
    rows.sort((a, b) => b.clicks - a.clicks);
    return {
      rows, total: totals.invalid_clicks, said: counts ? "No invalid clicks in this range." : "Invalid clicks are not kept by device and country. Remove the filters to see them.",
      file: named("invalid"), columns: ["verdict", "clicks"], cells: (row) => [row.key, row.clicks],
    };
  };

  return {
    root: h("div", { class: "cards" }, columns.map((column) => h("div", { class: "column" }, column.map(({ root }) => root)))),
    clear() {
      for (const card of cards) {
        card.clear();
        card.busy();
      }
    },
    /** What the main answer already tells. */
    showReasons: (main) => reasons.show(reasonsOf(main)),
    /** Asks for the rest. `ask`: range, zone and filters; `main`: {view, totals}. Throws the first failure when all are done. */
    async refresh(ask, main, signal) {
      const jobs = [[devices, byCell("device", ask, main, signal)], [countries, byCell("country", ask, main, signal)], [top, topOf(ask, main, signal)], [places, placesOf(ask, main, signal)]];
      const done = await Promise.allSettled(jobs.map(async ([card, job]) => {
        // What the API will not break down leaves its own card empty, and says why.
        const data = await job.catch((error) => {
          if ([400, 403, 404, 422].includes(error.status)) return { rows: [], said: sentence(error.message) };
          throw error;
        });
        if (!signal.aborted) card.show(data);
      }));
      const failed = done.find(({ status }) => status === "rejected");
      if (failed) throw failed.reason;
    },
  };
};

/** A question without what is not asked. */
const plain = (ask) => Object.fromEntries(Object.entries(ask).filter(([, value]) => value !== "" && value !== undefined));
