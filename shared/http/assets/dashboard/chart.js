// The chart of clicks over time, by uPlot. Bars while there is room for them, areas beyond.
// Invariant: what is not final is hatched, and what is not known is not drawn.

import { h } from "./dom.js";
import { wallIn } from "./time.js";
import { day, hour, short, weekday } from "./words.js";

const HEIGHT = 270;
const MOST_BARS = 200;

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A fill of slanted lines. */
const hatch = (context, of) => {
  const scale = devicePixelRatio;
  const tile = document.createElement("canvas");
  tile.width = tile.height = Math.round(7 * scale);
  const pen = tile.getContext("2d");
  pen.globalAlpha = 0.16;
  pen.fillStyle = of;
  pen.fillRect(0, 0, tile.width, tile.height);
  pen.globalAlpha = 0.9;
  pen.strokeStyle = of;
  pen.lineWidth = 1.6 * scale;
  pen.beginPath();
  for (const shift of [-1, 0, 1]) {
    pen.moveTo(shift * tile.width - scale, tile.height + scale);
    pen.lineTo((shift + 1) * tile.width + scale, -scale);
  }
  pen.stroke();
  return context.createPattern(tile, "repeat");
};

const STEPS = {
  minute: [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440],
  hour: [1, 2, 3, 4, 6, 12, 24, 48, 72, 168, 336],
  day: [1, 2, 3, 4, 5, 7, 10, 14, 28, 61, 91, 182, 365],
};

/** Which rows get a label, so that all fit. */
const ticks = (walls, granularity, room) => {
  const unit = { minute: 60_000, hour: 3_600_000, day: 86_400_000 }[granularity];
  const most = Math.max(2, Math.floor(room / (granularity === "minute" ? 66 : 74)));
  const step = STEPS[granularity].find((size) => walls.length / size <= most) ?? Math.ceil(walls.length / most);
  if (granularity === "day") return walls.map((_, at) => at).filter((at) => (walls.length - 1 - at) % step === 0);
  return walls.map((_, at) => at).filter((at) => Math.floor(walls[at] / unit) % step === 0);
};

const label = (wall, granularity) => {
  if (granularity === "day") return day(wall);
  return wall % 86_400_000 === 0 ? weekday(wall) : hour(wall);
};

/**
 * Draws into `place`. `onzoom(first, last)` is told the rows that were drawn over, `describe(row)` gives the lines of a row's
 * box: [label, text, swatch].
 */
export const makeChart = (place, { onzoom, describe }) => {
  const tip = h("div", { class: "tip", hidden: true, "aria-hidden": "true" });
  const canvas = h("div", { class: "canvas" });
  place.append(canvas, tip);
  let plot = null;
  let model = null;
  let shape = "";

  const columns = () => {
    const { rows, stacked } = model;
    const gross = (row) => (stacked && row.valid !== null ? row.valid + row.invalid : null);
    const bars = rows.length <= MOST_BARS;
    // An area that goes on where the other ends.
    const live = (at) => !rows[at].final || (!bars && at + 1 < rows.length && !rows[at + 1].final);
    // A bar of nothing would still have an outline.
    const of = (value, wanted) => rows.map((row, at) => (wanted(at) && !(bars && value(row) === 0) ? value(row) : null));
    const final = (at) => rows[at].final;
    return [
      rows.map((_, at) => at),
      of(gross, final), of((row) => row.valid, final),
      of(gross, live), of((row) => row.valid, live),
      rows.map((row) => row.before ?? null),
    ];
  };

  const move = () => {
    const at = plot?.cursor.idx;
    const row = at === null || at === undefined || plot.cursor.left < 0 ? null : model.rows[at];
    tip.hidden = !row;
    if (!row) return;
    const { title, lines, note } = describe(row);
    tip.replaceChildren(
      h("p", { class: "tip-title" }, title),
      ...lines.map(([name, text, swatch]) => h("p", {}, h("span", {}, swatch && h("i", { class: `swatch ${swatch}` }), name), h("b", {}, text))),
      note ? h("p", { class: "tip-note" }, note) : "",
    );
    const left = plot.valToPos(at, "x") + plot.bbox.left / devicePixelRatio;
    const width = tip.offsetWidth;
    tip.style.left = `${Math.max(0, Math.min(place.clientWidth - width, left + 14 + width > place.clientWidth ? left - width - 14 : left + 14))}px`;
  };

  const build = () => {
    plot?.destroy();
    const width = Math.max(place.clientWidth, 240);
    const bars = model.rows.length <= MOST_BARS;
    const paths = bars ? uPlot.paths.bars({ size: [0.78, 46], radius: model.rows.length <= 62 ? 0.14 : 0 }) : uPlot.paths.linear();
    const patterns = new Map();
    const hatched = (name) => (u) => {
      if (!patterns.has(name)) patterns.set(name, hatch(u.ctx, color(name)));
      return patterns.get(name);
    };
    const series = (name, live) => ({
      paths,
      points: { show: false },
      fill: live ? hatched(name) : color(name),
      stroke: color(name),
      width: live || !bars ? 1 : 0,
      dash: live && !bars ? [4, 3] : undefined,
    });
    const axis = { stroke: color("--soft"), font: `12px ${getComputedStyle(place).fontFamily}`, ticks: { show: false } };
    plot = new uPlot({
      width,
      height: HEIGHT,
      padding: [12, 18, 0, 0],
      legend: { show: false },
      cursor: { y: false, points: { show: false }, drag: { x: Boolean(onzoom), y: false, setScale: false, dist: 8 } },
      scales: {
        x: { time: false, range: (_, first, last) => [first - 0.5, last + 0.5] },
        y: { range: (_, __, most) => [0, Math.max(4, (most ?? 0) * 1.06)] },
      },
      axes: [
        {
          ...axis, grid: { show: false }, size: 30, gap: 8,
          splits: (u) => ticks(model.rows.map((row) => row.wall), model.granularity, u.bbox.width / devicePixelRatio),
          values: (_, places) => places.map((at) => (model.rows[at] ? label(model.rows[at].wall, model.granularity) : "")),
        },
        {
          ...axis, grid: { stroke: color("--rule"), width: 1 }, gap: 6, space: 44,
          size: (_, values) => Math.max(34, Math.max(...(values ?? [""]).map((text) => String(text).length)) * 7.4 + 14),
          incrs: [1, 2, 5].flatMap((digit) => Array.from({ length: 10 }, (_, zeros) => digit * 10 ** zeros)).sort((a, b) => a - b),
          values: (_, values) => values.map(short),
        },
      ],
      series: [
        {},
        series("--invalid-fill", false), series("--valid-fill", false), series("--invalid-fill", true), series("--valid-fill", true),
        { paths: uPlot.paths.linear(), points: { show: false }, stroke: color("--before"), width: 1.75, dash: [2, 4], cap: "round" },
      ],
      hooks: {
        setCursor: [move],
        setSelect: [(u) => {
          if (u.select.width < 8) return;
          const row = (left) => Math.max(0, Math.min(model.rows.length - 1, Math.round(u.posToVal(left, "x"))));
          const [first, last] = [row(u.select.left), row(u.select.left + u.select.width)];
          u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          onzoom(model.rows[first], model.rows[last]);
        }],
      },
    }, columns(), canvas);
  };

  const watch = new ResizeObserver(() => {
    if (plot && place.clientWidth && place.clientWidth !== plot.width) plot.setSize({ width: place.clientWidth, height: HEIGHT });
  });
  watch.observe(place);
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  const redraw = () => model && build();
  scheme.addEventListener("change", redraw);

  return {
    /** `rows` of {start, valid, invalid, before, final}; `stacked`: whether invalid clicks are known. */
    draw(next) {
      next.rows.forEach((row) => { row.wall = wallIn(row.start); });
      model = next;
      const now = `${next.granularity} ${next.rows.length} ${next.stacked}`;
      if (plot && now === shape) {
        plot.setData(columns());
        move();
      } else {
        shape = now;
        build();
      }
    },
    destroy() {
      watch.disconnect();
      scheme.removeEventListener("change", redraw);
      plot?.destroy();
    },
  };
};
