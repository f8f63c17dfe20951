// Choosing whose clicks are looked at: a button that names it, and a list that can be searched (ARIA's combobox).

import { h } from "./dom.js";
import { ENTITIES } from "./words.js";

const MOST_SHOWN = 150;
const GROUPS = { total: "Everything", advertiser: "Advertisers", campaign: "Campaigns", ad: "Ads", placement: "Placements" };

/** `load()` gives {found, more}; `onchoose({entity, id})` is told the choice. `entities`: what may be named by an id alone. */
export const makePicker = ({ load, onchoose, entities }) => {
  const name = h("span", { class: "picker-name" });
  const kind = h("span", { class: "picker-kind" });
  const button = h("button", { type: "button", class: "picker-button", "aria-haspopup": "dialog", "aria-expanded": "false", onclick: () => (panel.hidden ? open() : close(true)) },
    kind, name, h("span", { class: "caret", "aria-hidden": "true" }));
  const list = h("div", { id: "picker-list", role: "listbox", "aria-label": "Whose clicks", class: "picker-list" });
  const note = h("p", { class: "note", role: "status" });
  const search = h("input", {
    type: "search", role: "combobox", "aria-expanded": "true", "aria-controls": "picker-list", "aria-autocomplete": "list", "aria-label": "Search by title or id", placeholder: "Search by title or id", autocomplete: "off", spellcheck: "false",
    oninput: () => render(),
  });
  const panel = h("div", { class: "picker-panel", hidden: true, role: "dialog", "aria-label": "Choose whose clicks to look at" }, search, list, note);
  const root = h("div", { class: "picker" }, h("h1", {}, button), panel);
  let all = null;
  let options = [];
  let active = 0;
  let current = {};

  const matching = () => {
    const words = search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const found = (all?.found ?? []).filter(({ entity, id, name: title, note: more }) => {
      const text = `${title} ${entity} ${id ?? ""} ${more ?? ""}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
    // An id that no list has: the API says whether it is there to be seen.
    const id = search.value.trim();
    if (/^\d{1,20}$/.test(id)) {
      for (const entity of entities) {
        if (!found.some((item) => item.entity === entity && item.id === id)) found.push({ entity, id, name: `${ENTITIES[entity]} ${id}`, note: "by its id" });
      }
    }
    return found;
  };

  const mark = (at) => {
    active = Math.max(0, Math.min(options.length - 1, at));
    options.forEach((option, n) => option.element.setAttribute("aria-selected", String(n === active)));
    const marked = options[active]?.element;
    if (marked) {
      search.setAttribute("aria-activedescendant", marked.id);
      marked.scrollIntoView({ block: "nearest" });
    } else search.removeAttribute("aria-activedescendant");
  };

  const render = () => {
    const found = matching();
    const shown = found.slice(0, MOST_SHOWN);
    options = [];
    const groups = new Map();
    for (const item of shown) {
      const element = h("div", { role: "option", id: `picker-${options.length}`, class: "picker-option", "aria-selected": "false", onmousedown: (event) => event.preventDefault(), onclick: () => choose(item) },
        h("span", {}, item.name), item.note ? h("small", {}, item.note) : null);
      if (item.entity === current.entity && item.id === current.id) element.classList.add("current");
      options.push({ item, element });
      if (!groups.has(item.entity)) groups.set(item.entity, []);
      groups.get(item.entity).push(element);
    }
    list.replaceChildren(...[...groups].map(([entity, elements]) => h("div", { role: "group", "aria-label": GROUPS[entity] }, h("p", { class: "picker-group", "aria-hidden": "true" }, GROUPS[entity]), elements)));
    note.textContent = !all ? "Loading…"
      : found.length === 0 ? "Nothing like that. An id can be typed in full."
        : found.length > shown.length || all.more ? `The first ${shown.length} are listed: search for others, or type an id.` : "";
    const at = search.value ? 0 : options.findIndex(({ item }) => item.entity === current.entity && item.id === current.id);
    mark(at);
  };

  const open = async () => {
    panel.hidden = false;
    button.setAttribute("aria-expanded", "true");
    search.value = "";
    render();
    search.focus();
    try {
      all = await load();
    } catch (error) {
      note.textContent = error.message;
      return;
    }
    if (!panel.hidden) render();
  };
  const close = (focus) => {
    panel.hidden = true;
    button.setAttribute("aria-expanded", "false");
    if (focus) button.focus();
  };
  const choose = ({ entity, id }) => {
    close(true);
    onchoose({ entity, id });
  };

  search.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 }[event.key];
    if (step) mark(active + step);
    else if (event.key === "Home" && !search.value) mark(0);
    else if (event.key === "End" && !search.value) mark(options.length - 1);
    else if (event.key === "Enter" && options[active]) choose(options[active].item);
    else if (event.key === "Escape") close(true);
    else return;
    event.preventDefault();
  });
  root.addEventListener("focusout", (event) => {
    if (!panel.hidden && !root.contains(event.relatedTarget)) close(false);
  });

  return {
    root,
    show(view, title) {
      current = { entity: view.entity, id: view.id };
      name.textContent = title;
      const says = title.startsWith(ENTITIES[view.entity]);
      kind.textContent = says ? "" : ENTITIES[view.entity];
      kind.hidden = says;
    },
  };
};
