// The four figures of the range, each beside what it was before.

import { h, setText } from "./dom.js";
import { wallIn } from "./time.js";
import { change, moment, number, share } from "./words.js";

const tile = (id, label) => {
  const value = h("p", { class: "tile-value", id: `tile-${id}` }, "–");
  const delta = h("p", { class: "tile-delta" });
  const note = h("p", { class: "tile-note" });
  return { root: h("div", { class: "tile", "data-tile": id, role: "group", "aria-label": label }, h("p", { class: "tile-label" }, label), h("div", { class: "tile-figure" }, value, delta), note), value, delta, note };
};

export const makeTiles = () => {
  const tiles = { valid: tile("valid", "Valid clicks"), invalid: tile("invalid", "Invalid clicks"), rate: tile("rate", "Invalid rate"), peak: tile("peak", "Peak minute") };

  const show = ({ value, delta, note }, { text, count, was, before, more, good }) => {
    setText(value, text);
    value.classList.toggle("off", text === "–");
    if (count !== undefined && count !== null) value.dataset.count = count;
    else delete value.dataset.count;
    const arrow = { "-1": "↓", 0: "→", 1: "↑" };
    const key = was ? `${was.sign} ${was.text} ${before}` : "";
    if (delta.dataset.key !== key) {
      delta.dataset.key = key;
      delta.className = `tile-delta ${!was || was.sign === 0 || !good ? "" : was.sign === good ? "good" : "bad"}`;
      delta.replaceChildren(...(was ? [h("span", { "aria-hidden": "true" }, `${arrow[was.sign]} ${was.text}`), h("span", { class: "hidden" }, `, ${was.spoken}`)] : []));
    }
    setText(note, [more, was && `before: ${before}`].filter(Boolean).join(" · "));
  };

  return {
    root: h("div", { class: "tiles" }, ...Object.values(tiles).map(({ root }) => root)),
    /** `totals` as the API gives them, `before` those of the period that is compared with, or null. */
    show(totals, before) {
      const of = (name) => totals[name] ?? null;
      const was = (name, options) => (before ? change(of(name), before[name] ?? null, options) : null);
      show(tiles.valid, { text: number(totals.clicks), count: totals.clicks, was: was("clicks"), before: before && number(before.clicks), good: 1 });
      const kept = of("invalid_clicks") !== null;
      const away = "not kept by device and country";
      show(tiles.invalid, kept
        ? { text: number(totals.invalid_clicks), count: totals.invalid_clicks, was: was("invalid_clicks"), before: before && number(before.invalid_clicks ?? 0), good: -1 }
        : { text: "–", more: away });
      show(tiles.rate, kept
        ? { text: share(totals.invalid_click_rate), count: totals.invalid_click_rate, was: was("invalid_click_rate", { points: true }), before: before && share(before.invalid_click_rate ?? 0), good: -1 }
        : { text: "–", more: away });
      const peak = totals.peak_minute;
      show(tiles.peak, peak
        ? { text: number(peak.clicks), count: peak.clicks, was: before ? change(peak.clicks, before.peak_minute?.clicks ?? 0) : null, before: before && number(before.peak_minute?.clicks ?? 0), more: moment(wallIn(peak.start)) }
        : { text: "–", more: peak === null ? "no valid click yet" : "with filters: for 31 days at most" });
    },
  };
};
