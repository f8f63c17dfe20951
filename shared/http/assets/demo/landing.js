// The advertisers of the demo: one page, dressed by the number at the end of its address.
"use strict";

(() => {
  const ADVERTISERS = [
    ["Northlight Ferries", "Across the sound in forty minutes.", "Six crossings a day, coffee on board, and a seat by the window for everyone."],
    ["Marrow & Pine", "Oilskins that outlast the weather.", "Cut in the harbour, mended for life. Bring yours in, whoever made it."],
    ["The Ledger Press", "Books for people who count.", "Ruled, numbered and bound to lie flat. In twelve colours and one size: the right one."],
  ];
  const number = Number.parseInt(location.pathname.split("/").pop(), 10);
  const advertiser = ADVERTISERS[(number - 1) % ADVERTISERS.length];
  if (!advertiser) return;
  const [brand, claim, offer] = advertiser;
  document.body.dataset.look = String(((number - 1) % ADVERTISERS.length) + 1);
  document.title = `${brand}: ${claim}`;
  document.getElementById("brand").textContent = brand;
  document.getElementById("claim").textContent = claim;
  document.getElementById("offer").textContent = offer;
})();
