// The demo page: ads from the placement API on the left, the advertiser's view of their clicks on the right.
// Invariant: every number shown came from the metrics API; the page counts nothing by itself.
"use strict";

(() => {
  const SLOTS = ["demo-top", "demo-side", "demo-foot"];
  const MINUTES = 30;
  const POLL_MS = 500;
  const RETRY_MS = 3000;
  const VERDICTS = [
    ["duplicate", "the same showing, clicked again"],
    ["bad_token", "forged, or of another ad"],
    ["missing_token", "no showing at all"],
    ["expired_token", "a showing of long ago"],
    ["prefetch", "fetched ahead, not clicked"],
    ["bot", "a known robot"],
    ["inactive_ad", "the ad is paused"],
    ["rate_limited", "too many from one client"],
  ];

  const byId = (id) => document.getElementById(id);
  const element = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };

  // Where ads lead comes from an API: only web addresses become links.
  const webUrl = (text, base) => {
    const url = new URL(text, base);
    return url.protocol === "http:" || url.protocol === "https:" ? url : null;
  };

  /* ---- ads ---- */

  const shown = new Map(); // slot → URL of the click on the impression that is on the page
  let lastClicked = null;

  const showAd = async (slot) => {
    const place = document.querySelector(`[data-slot="${slot}"]`);
    shown.delete(slot);
    place.setAttribute("aria-busy", "true");
    try {
      const response = await fetch(`v1/placements/${slot}`, { headers: { Accept: "application/json" }, cache: "no-store" });
      if (response.status === 404) {
        place.replaceChildren(element("p", { class: "empty" }, "This slot has no active ad."));
        return;
      }
      if (!response.ok) throw new Error(`HTTP ${response.status}`);
      const ad = await response.json();
      const url = webUrl(ad.click_url, response.url);
      if (!url) throw new Error("not a web address");
      const link = element("a", { class: "ad", href: url.href, target: "_blank", rel: "sponsored noopener", "data-ad": ad.ad_id });
      const image = ad.image_url && webUrl(ad.image_url, response.url);
      if (image) link.append(element("img", { src: image.href, alt: "" }));
      const words = element("span", { class: "words" });
      words.append(element("span", { class: "title" }, ad.title || `Ad ${ad.ad_id}`), element("span", { class: "go" }, "Visit the advertiser"));
      link.append(words, element("span", { class: "hidden" }, " (opens in a new tab)"));
      link.addEventListener("click", () => { lastClicked = url; });
      link.addEventListener("auxclick", (event) => { if (event.button === 1) lastClicked = url; });
      place.replaceChildren(element("span", { class: "tag", "aria-hidden": "true" }, "Advertisement"), link);
      shown.set(slot, url);
    } catch {
      place.replaceChildren(element("p", { class: "empty" }, "The ad could not be loaded."));
    } finally {
      place.setAttribute("aria-busy", "false");
    }
  };

  const showAds = () => Promise.all(SLOTS.map(showAd));

  /* ---- clicks that must not count ---- */

  const tried = byId("tried");

  // The beacon form of a click: the same address by POST, answered with 204 instead of a redirect.
  const beacon = async (url, said) => {
    try {
      const response = await fetch(url, { method: "POST" });
      tried.textContent = response.ok ? said : `The server answered ${response.status}.`;
    } catch {
      tried.textContent = "The server could not be reached.";
    }
  };

  byId("repeat").addEventListener("click", () => {
    if (lastClicked) beacon(lastClicked, "Sent the click on that showing again: a duplicate.");
    else tried.textContent = "Click an ad first, then repeat that click here.";
  });

  byId("forge").addEventListener("click", () => {
    const real = shown.values().next().value;
    if (!real) {
      tried.textContent = "There is no ad on the page to forge a showing of.";
      return;
    }
    const forged = new URL(real);
    const token = forged.searchParams.get("imp") || "";
    const middle = token.length >> 1;
    const other = token[middle] === "A" ? "B" : "A";
    forged.searchParams.set("imp", token.slice(0, middle) + other + token.slice(middle + 1));
    beacon(forged, "Sent a click with one character of its token changed: a bad token.");
  });

  byId("fresh").addEventListener("click", async () => {
    await showAds();
    tried.textContent = "New showings, each good for one valid click.";
  });

  /* ---- the chart ---- */

  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const chartPlace = byId("chart");
  let chart = null;
  let chartData = [[], [], []];

  const drawChart = () => {
    if (chart) chart.destroy();
    const bars = uPlot.paths.bars({ size: [0.74, 18] });
    const axis = { stroke: style("--ink-soft"), font: "12px system-ui, sans-serif", ticks: { show: false } };
    const options = {
      width: Math.max(chartPlace.clientWidth, 200),
      height: 170,
      padding: [10, 20, 0, 0],
      legend: { show: false },
      cursor: { show: false },
      scales: { x: { time: true, range: (_, first, last) => [first - 30, last + 30] }, y: { range: (_, __, most) => [0, Math.max(4, Math.ceil(most * 1.1))] } },
      axes: [
        { ...axis, grid: { show: false }, space: 56, size: 28, values: (_, times) => times.map(clockTime) },
        { ...axis, grid: { stroke: style("--rule"), width: 1 }, size: 38, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000, 10000, 100000, 1000000] },
      ],
      // All clicks behind, valid ones in front: what stays visible of the former is the invalid ones.
      series: [
        {},
        { label: "all", paths: bars, points: { show: false }, fill: style("--invalid-fill"), stroke: style("--invalid-fill"), width: 0 },
        { label: "valid", paths: bars, points: { show: false }, fill: style("--valid-fill"), stroke: style("--valid-fill"), width: 0 },
      ],
    };
    chart = new uPlot(options, chartData, chartPlace);
  };

  const clockTime = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hour: "numeric", minute: "2-digit" });

  new ResizeObserver(() => {
    if (chart && chartPlace.clientWidth && chartPlace.clientWidth !== chart.width) chart.setSize({ width: chartPlace.clientWidth, height: 170 });
  }).observe(chartPlace);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (chart) drawChart(); });

  /* ---- counts ---- */

  const setText = (target, text) => { if (target.textContent !== text) target.textContent = text; };
  const state = byId("state");
  const setState = (text, kind) => { setText(state, text); state.dataset.kind = kind; };

  const verdictNumbers = new Map(VERDICTS.map(([verdict, meaning]) => {
    const number = element("dd", { "data-verdict": verdict }, "0");
    const name = element("dt", {}, verdict.replace("_", " "), element("small", {}, meaning));
    byId("verdicts").append(element("div", { class: "zero" }, name, number));
    return [verdict, number];
  }));

  let drawn = "";
  const show = (metrics) => {
    const { totals, rows } = metrics;
    for (const [id, count] of [["valid", totals.clicks], ["invalid", totals.invalid_clicks]]) {
      setText(byId(id), count.toLocaleString());
      byId(id).dataset.count = count;
      setText(document.querySelector(`[data-mirror="${id}"]`), count.toLocaleString());
    }
    for (const [verdict, number] of verdictNumbers) {
      const count = totals.invalid_by_verdict[verdict] || 0;
      setText(number, count.toLocaleString());
      number.parentElement.classList.toggle("zero", count === 0);
    }

    const minutes = rows.map((row) => [Date.parse(row.start) / 1000, row.gross_clicks, row.clicks]);
    const now = JSON.stringify(minutes);
    if (now === drawn) return;
    drawn = now;
    chartData = [0, 1, 2].map((column) => minutes.map((minute) => minute[column]));
    if (chart) chart.setData(chartData);
    else drawChart();
    const peak = minutes.reduce((most, minute) => (minute[2] > most[2] ? minute : most), [0, 0, 0]);
    setText(byId("chart-text"), peak[2] ? `Most valid clicks in one minute: ${peak[2]}, at ${clockTime(peak[0])}.` : "No valid clicks yet.");
    byId("rows").replaceChildren(...minutes.toReversed().map(([start, gross, valid]) =>
      element("tr", {}, element("th", { scope: "row" }, clockTime(start)), element("td", {}, String(valid)), element("td", {}, String(gross - valid)))));
  };

  const askMetrics = async (session) => {
    const minute = Math.floor(Date.now() / 60_000);
    const time = (at) => new Date(at * 60_000).toISOString().replace(".000Z", "Z");
    const query = new URLSearchParams({ from: time(minute - MINUTES + 1), to: time(minute + 1), granularity: "minute" });
    const response = await fetch(`v1/advertisers/${session.advertiser_id}/metrics?${query}`, {
      headers: { Authorization: `Bearer ${session.key}` },
      cache: "no-store",
    });
    if (!response.ok) throw Object.assign(new Error(`HTTP ${response.status}`), { status: response.status });
    return response.json();
  };

  const wait = (ms) => new Promise((resume) => { setTimeout(resume, ms); });

  // The ad opens in another tab, so this goes on while the page is hidden.
  const watch = async () => {
    let session = null;
    for (;;) {
      let pause = POLL_MS;
      try {
        if (!session) {
          const response = await fetch("demo/session", { cache: "no-store" });
          if (response.status === 404) {
            setState("The counts are shown only where the server runs: open this page on that machine, by its loopback address.", "off");
            return;
          }
          if (!response.ok) throw new Error(`HTTP ${response.status}`);
          session = await response.json();
        }
        show(await askMetrics(session));
        setState("Live", "live");
      } catch (error) {
        // A restarted server with another data folder knows other keys.
        if (error.status === 401 || error.status === 403 || error.status === 404) session = null;
        setState("No answer from the server; trying again.", "wait");
        pause = RETRY_MS;
      }
      await wait(pause);
    }
  };

  showAds();
  watch();
})();
