// Signing in: an API key for a session that can only read.

import { session } from "./api.js";
import { h, setText } from "./dom.js";
import { sentence } from "./words.js";

/** Shows the form in `place`; `onsession` is given the session. */
export const signIn = (place, { why, onsession }) => {
  const field = h("input", {
    id: "key", name: "key", type: "password", required: true, autocomplete: "current-password", autocapitalize: "off", spellcheck: "false", placeholder: "clk_…", "aria-describedby": "key-note key-error",
  });
  const error = h("p", { class: "error", id: "key-error", role: "alert" });
  const button = h("button", { type: "submit", class: "strong" }, "Sign in");
  const submit = async (event) => {
    event.preventDefault();
    setText(error, "");
    field.removeAttribute("aria-invalid");
    button.disabled = true;
    try {
      const key = field.value.trim();
      const found = await session.start(key);
      field.value = "";
      onsession(found);
      return;
    } catch (problem) {
      const text = problem.status === 401 || problem.status === 400 ? "This key opens nothing. Check that it is complete, and that it was not revoked."
        : problem.status === 429 ? "Too many tries. Wait a minute, then try again."
          : problem.status === 0 ? "The server does not answer. Try again."
            : sentence(problem.message);
      setText(error, text);
      field.setAttribute("aria-invalid", "true");
      field.focus();
      field.select();
    }
    button.disabled = false;
  };
  place.replaceChildren(h("section", { class: "sign-in", "aria-labelledby": "sign-in-title" },
    h("div", { class: "sign-in-mark", "aria-hidden": "true" }),
    h("h1", { id: "sign-in-title" }, "Clickledger"),
    h("p", { class: "lead" }, "Ad clicks, counted exactly."),
    why && h("p", { class: "why", role: "status" }, why),
    h("form", { onsubmit: submit },
      // Password managers keep a key under a name.
      h("input", { type: "text", name: "username", value: "clickledger", autocomplete: "username", hidden: true, readonly: true, tabindex: "-1", "aria-hidden": "true" }),
      h("label", { for: "key" }, "API key"),
      field,
      error,
      button),
    h("p", { class: "note", id: "key-note" }, "The key is exchanged for a session that can only read and ends after a few hours. The key itself is not kept in this browser."),
  ));
  field.focus();
};
