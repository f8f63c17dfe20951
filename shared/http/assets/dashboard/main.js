// The page: a session or the form for one, and one of its views.
// Invariant: at most one view is alive, and none without a session.

import { session as sessions } from "./api.js";
import { byId, fill, h, setText } from "./dom.js";
import { countsPage } from "./counts.js";
import { operationsPage } from "./operations.js";
import { signIn } from "./signin.js";
import { sentence } from "./words.js";
import * as views from "./view.js";

const content = byId("content");
let session = null;
let page = null;
let shown = "";

const stop = () => {
  page?.stop();
  page = null;
  shown = "";
};

const askForKey = (why) => {
  stop();
  session = null;
  byId("bar").hidden = true;
  byId("footer").hidden = true;
  document.title = "Sign in · Clickledger";
  content.setAttribute("aria-busy", "false");
  signIn(content, { why, onsession: begin });
};

/** Goes to another view; `replace` where going back should not lead to this one. */
const go = (changes, replace = false) => {
  const view = { ...views.read(location.hash, session), ...changes };
  const hash = views.write(view, session);
  if (hash === (location.hash || "#")) {
    // Asked for again: it may not have been shown.
    page?.show(view);
    return;
  }
  history[replace ? "replaceState" : "pushState"](null, "", hash === "#" ? location.pathname + location.search : hash);
  show();
};

const WHO = { admin: "Administrator", advertiser: (s) => `Advertiser ${s.advertiser_id}`, publisher: "Publisher" };
const who = (s) => (typeof WHO[s.scope] === "function" ? WHO[s.scope](s) : WHO[s.scope]);

const tell = {
  /** How fresh the page is: `kind` is live, still, wait or empty. */
  state(kind, text) {
    const state = byId("state");
    setText(state, text);
    state.dataset.kind = kind;
  },
  expired() {
    askForKey("Your session has ended. Sign in again to go on where you were.");
  },
};

const tabs = (view) => fill(byId("views"), `${session.scope} ${view.page}`, () => (session.scope === "admin"
  ? [["counts", "Clicks"], ["operations", "Operations"]].map(([name, text]) => h("a", {
    href: name === "counts" ? "#" : "#view=operations",
    "aria-current": view.page === name ? "page" : null,
    onclick: (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey) return;
      event.preventDefault();
      go({ page: name });
    },
  }, text))
  : []));

const show = () => {
  const view = views.read(location.hash, session);
  tabs(view);
  if (shown !== view.page) {
    stop();
    shown = view.page;
    content.replaceChildren();
    const made = view.page === "operations" ? operationsPage : countsPage;
    page = made(content, { session, go, tell });
  }
  page.show(view);
};

function begin(found) {
  session = found;
  setText(byId("who"), who(found));
  byId("bar").hidden = false;
  byId("footer").hidden = false;
  show();
}

byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  content.focus();
});
byId("sign-out").addEventListener("click", async () => {
  // Also where the server does not answer: the page forgets what it shows.
  await sessions.end().catch(() => {});
  history.replaceState(null, "", location.pathname + location.search);
  askForKey("You are signed out.");
});
addEventListener("popstate", () => session && show());

const start = async () => {
  try {
    begin(await sessions.get());
  } catch (error) {
    if (error.status === 401 || error.status === 403) askForKey("");
    else {
      content.setAttribute("aria-busy", "false");
      content.replaceChildren(h("section", { class: "sign-in" }, h("h1", {}, "Clickledger"), h("p", { role: "alert" }, `${sentence(error.message)} Trying again…`)));
      setTimeout(start, 3000);
    }
  }
};
start();
