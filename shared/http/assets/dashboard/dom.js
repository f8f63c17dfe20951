// Elements of the page. Text only ever becomes text: nothing that an API said is read as HTML.

/** Makes an element. Keys that begin with `on` are listeners; `null`, `undefined` and `false` leave an attribute out. */
export const h = (name, attributes = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "value") made.value = value;
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
};

export const byId = (id) => document.getElementById(id);

/** Sets a text only where it is another, so that screen readers are told of changes alone. */
export const setText = (element, text) => {
  if (element.textContent !== text) element.textContent = text;
};

const keys = new WeakMap();
/** Replaces the children only where they are others: what has the focus keeps it while nothing changes. */
export const fill = (element, key, make) => {
  if (keys.get(element) === key) return false;
  keys.set(element, key);
  element.replaceChildren(...[make()].flat().filter(Boolean));
  return true;
};

/** A select; `options` are [value, label, disabled]. */
export const select = (label, options, value, onchange) => {
  const made = h("select", { "aria-label": label, onchange: () => onchange(made.value) },
    options.map(([key, text, disabled]) => h("option", { value: key, disabled, selected: key === value }, text)));
  return made;
};

let announced = 0;
let waiting = null;
/** Tells screen readers something, at most every `pause_ms`, and then only the newest of it. */
export const say = (text, pause_ms = 0) => {
  clearTimeout(waiting);
  const speak = () => {
    announced = Date.now();
    setText(byId("said"), text);
  };
  const left = announced + pause_ms - Date.now();
  if (left > 0) waiting = setTimeout(speak, left);
  else speak();
};
