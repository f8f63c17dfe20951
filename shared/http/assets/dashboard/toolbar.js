// The row of choices above the counts: whose, when, which zone; and the filters that are on, each with a way to take it off.

import { fill, h, select } from "./dom.js";
import { makePicker } from "./picker.js";
import { HOUR, RANGES, ofField, rangeOf, toField, zones } from "./time.js";
import { now } from "./api.js";
import { homeOf } from "./view.js";
import { DEVICES, ENTITIES, country } from "./words.js";

/** Which entities a session may name by their ids. */
const nameable = { admin: ["advertiser", "campaign", "ad", "placement"], advertiser: ["campaign", "ad"], publisher: ["placement"] };

export const makeToolbar = ({ session, directory, go }) => {
  const picker = makePicker({ load: () => directory.everything(), entities: nameable[session.scope], onchoose: (chosen) => go(chosen) });
  const ranges = h("div", { class: "segments", role: "group", "aria-label": "Range of time" });
  const zone = h("div", { class: "zone" });
  const custom = h("div", { class: "custom-place" });
  const chips = h("div", { class: "chips", role: "group", "aria-label": "Filters" });
  let open = false;
  let view = null;

  const showRanges = () => {
    fill(ranges, `${view.range} ${open}`, () => [
      ...Object.entries(RANGES).map(([name, { label, long }]) => h("button", {
        type: "button", "data-range": name, "aria-pressed": String(view.range === name), "aria-label": label === "Today" ? null : `${label}: ${long}`,
        onclick: () => {
          open = false;
          go({ range: name, by: undefined });
          showRanges();
          showCustom();
        },
      }, label)),
      h("button", {
        type: "button", "data-range": "custom", "aria-pressed": String(view.range === "custom"), "aria-expanded": String(open), "aria-controls": "custom",
        onclick: () => {
          open = !open;
          showRanges();
          showCustom();
          (open ? custom.querySelector("input") : ranges.querySelector("[data-range=custom]"))?.focus();
        },
      }, "Custom"),
    ]);
  };

  const showCustom = () => fill(custom, open ? `${view.tz} ${view.range} ${view.from} ${view.to}` : "", () => {
    if (!open) return [];
    const range = rangeOf(view, now());
    const field = (name, at) => h("input", { type: "datetime-local", name, required: true, step: 60, value: toField(at, view.tz), "aria-describedby": "custom-error" });
    const [from, to] = [field("from", range.from), field("to", range.to)];
    const error = h("p", { class: "error", id: "custom-error", role: "alert" });
    return [h("form", {
      id: "custom", class: "custom",
      onsubmit: (event) => {
        event.preventDefault();
        const chosen = { from: ofField(from.value, view.tz), to: ofField(to.value, view.tz) };
        const wrong = !(chosen.from < chosen.to) ? "The end must come after the beginning."
          : chosen.from > now() ? "The beginning lies in the future."
            : chosen.to - chosen.from > 3653 * 24 * HOUR ? "At most ten years can be looked at." : "";
        error.textContent = wrong;
        if (wrong) return;
        open = false;
        go({ range: "custom", ...chosen, by: undefined });
        showRanges();
        showCustom();
      },
    }, h("label", {}, "From", from), h("label", {}, "To", to), h("button", { type: "submit", class: "strong" }, "Show"), error)];
  });

  const showZone = () => fill(zone, view.tz, () => {
    const names = zones();
    if (!names.includes(view.tz)) names.push(view.tz);
    return select("Time zone", names.map((name) => [name, name.replaceAll("_", " ")]), view.tz, (tz) => go({ tz }));
  });

  const chip = (kind, text, spoken, remove) => h("span", { class: "chip" }, h("small", {}, kind), text,
    h("button", { type: "button", "aria-label": `Remove ${spoken}`, onclick: remove }, h("span", { "aria-hidden": "true" }, "×")));

  /** Whose counts are the next wider ones. */
  const wider = async () => {
    const home = homeOf(session);
    if (session.scope !== "admin" || !["ad", "campaign"].includes(view.entity)) return home;
    const owner = view.entity === "ad" ? (await directory.ad(view.id))?.advertiser_id : await directory.ownerOf(view.id);
    return owner ? { entity: "advertiser", id: owner } : home;
  };

  const showChips = (title) => {
    const home = homeOf(session);
    const atHome = view.entity === home.entity && view.id === home.id;
    fill(chips, JSON.stringify([view.entity, view.id, title, view.device, view.country]), () => {
      const made = [];
      if (!atHome) made.push(chip(ENTITIES[view.entity], title.replace(`${ENTITIES[view.entity]} `, ""), `${ENTITIES[view.entity].toLowerCase()} ${title}`, async () => go(await wider().catch(() => home))));
      for (const device of view.device) made.push(chip("Device", DEVICES[device], `the filter on ${DEVICES[device]}`, () => go({ device: view.device.filter((one) => one !== device) })));
      for (const code of view.country) made.push(chip("Country", country(code), `the filter on ${country(code)}`, () => go({ country: view.country.filter((one) => one !== code) })));
      if (view.device.length + view.country.length > 1) made.push(h("button", { type: "button", class: "quiet", onclick: () => go({ device: [], country: [] }) }, "Remove all filters"));
      return made;
    });
    chips.hidden = chips.childElementCount === 0;
  };

  return {
    root: h("div", { class: "toolbar" }, h("div", { class: "toolbar-row" }, picker.root, h("div", { class: "when" }, ranges, zone)), custom, chips),
    show(next) {
      view = next;
      const title = directory.nameOf(view);
      picker.show(view, title);
      showRanges();
      showCustom();
      showZone();
      showChips(title);
      document.title = `${title} · Clickledger`;
    },
  };
};
