// Time in the chosen zone. Instants are Unix milliseconds; a wall clock is held as the instant at which UTC shows the same.

export const MINUTE = 60_000;
export const HOUR = 3_600_000;
export const DAY = 86_400_000;

export const browserZone = () => Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

export const knownZone = (zone) => {
  try {
    new Intl.DateTimeFormat("en", { timeZone: zone });
    return true;
  } catch {
    return false;
  }
};

export const zones = () => {
  const all = Intl.supportedValuesOf ? Intl.supportedValuesOf("timeZone") : [];
  return [...new Set(["UTC", browserZone(), ...all])];
};

const formats = new Map();
const fieldsOf = (zone) => {
  if (!formats.has(zone)) {
    formats.set(zone, new Intl.DateTimeFormat("en-US", {
      timeZone: zone, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric",
    }));
  }
  return formats.get(zone);
};

/** What the clocks of the zone show at an instant. */
export const wallOf = (at, zone) => {
  const field = Object.fromEntries(fieldsOf(zone).formatToParts(at).map(({ type, value }) => [type, Number(value)]));
  return Date.UTC(field.year, field.month - 1, field.day, field.hour, field.minute, field.second);
};

/** The instant at which the clocks of the zone show this: the first of two, and where they skip it, as long after the skip. */
const instantOf = (wall, zone) => {
  const before = wall - (wallOf(wall - DAY, zone) - (wall - DAY));
  if (wallOf(before, zone) === wall) return before;
  const after = wall - (wallOf(wall + DAY, zone) - (wall + DAY));
  return wallOf(after, zone) === wall ? after : before;
};

/** The wall clock in a text of the API, such as `2026-01-02T01:00:00+01:00`. */
export const wallIn = (text) => Date.parse(`${text.slice(0, 19)}Z`);

const startOfDay = (at, zone, days = 0) => {
  const wall = Math.floor(wallOf(at, zone) / DAY) * DAY;
  return instantOf(wall + days * DAY, zone);
};
const startOfHour = (at, zone) => at - (wallOf(at, zone) % HOUR) - (at % 1000);

/** RFC 3339 in UTC, whole minutes. */
export const rfc3339 = (at) => `${new Date(at).toISOString().slice(0, 16)}:00Z`;

/** The value of a datetime-local field. */
export const toField = (at, zone) => new Date(wallOf(at, zone)).toISOString().slice(0, 16);
export const ofField = (text, zone) => {
  const wall = Date.parse(`${text}Z`);
  return Number.isNaN(wall) ? NaN : instantOf(wall, zone);
};

/** The ranges that can be chosen by name: label, spoken label, usual rows, how it begins, and how far back its like lies. */
export const RANGES = {
  "1h": { label: "1 h", long: "the last hour", by: "minute", back: { ms: HOUR }, from: (end) => end - HOUR },
  today: { label: "Today", long: "today", by: "hour", back: { days: 1 }, from: (end, zone) => startOfDay(end - MINUTE, zone) },
  "24h": { label: "24 h", long: "the last 24 hours", by: "hour", back: { ms: DAY }, from: (end, zone) => startOfHour(end - MINUTE, zone) - 23 * HOUR },
  "7d": { label: "7 d", long: "the last 7 days", by: "hour", back: { days: 7 }, from: (end, zone) => startOfDay(end - MINUTE, zone, -6) },
  "30d": { label: "30 d", long: "the last 30 days", by: "day", back: { days: 30 }, from: (end, zone) => startOfDay(end - MINUTE, zone, -29) },
};

const daysBack = (at, zone, days) => instantOf(wallOf(at, zone) - days * DAY, zone);
const yearBack = (at, zone) => {
  const wall = new Date(wallOf(at, zone));
  return instantOf(Date.UTC(wall.getUTCFullYear() - 1, wall.getUTCMonth(), wall.getUTCDate(), wall.getUTCHours(), wall.getUTCMinutes()), zone);
};

/**
 * The range that another is compared with: as long, and at the same times of day, so that a week that is half over stands beside
 * the same half of the week before.
 */
export const rangeBefore = (view, { from, to }) => {
  if (view.compare === "previous_year") return { from: yearBack(from, view.tz), to: yearBack(to, view.tz) };
  const days = Math.ceil((wallOf(to, view.tz) - wallOf(from, view.tz)) / DAY);
  const back = RANGES[view.range]?.back ?? (to - from > DAY ? { days } : { ms: Math.ceil((to - from) / HOUR) * HOUR });
  const move = (at) => (back.days ? daysBack(at, view.tz, back.days) : at - back.ms);
  return { from: move(from), to: move(to) };
};

/** From when to when a view asks, and whether clicks may still come into it. */
export const rangeOf = (view, at) => {
  const end = Math.floor(at / MINUTE) * MINUTE + MINUTE;
  const named = RANGES[view.range];
  if (named) return { from: named.from(end, view.tz), to: end, live: true };
  const to = Math.min(view.to, end);
  return { from: Math.min(view.from, to - MINUTE), to, live: view.to >= end - MINUTE };
};

/** How long rows may be: [name, label, allowed]. */
export const granularities = ({ from, to }) => [
  ["minute", "by the minute", to - from <= 2 * DAY],
  ["hour", "by the hour", to - from <= 62 * DAY],
  ["day", "by the day", to - from > DAY],
];

/** The chosen length of rows where the range allows it, else what fits it. */
export const granularityOf = (view, range) => {
  const allowed = granularities(range).filter(([, , ok]) => ok).map(([name]) => name);
  const length = range.to - range.from;
  const usual = RANGES[view.range]?.by ?? (length <= 3 * HOUR ? "minute" : length <= 8 * DAY ? "hour" : "day");
  return [view.by, usual].find((name) => allowed.includes(name)) ?? allowed[0];
};
