// The words and numbers of the page.

export const VERDICTS = {
  duplicate: ["Duplicate", "the same showing, clicked again"],
  bot: ["Bot", "a known robot, or no browser at all"],
  bad_token: ["Bad token", "a showing that was forged, or another ad’s"],
  missing_token: ["Missing token", "no showing at all"],
  expired_token: ["Expired token", "a showing of more than a day ago"],
  prefetch: ["Prefetch", "fetched ahead; nobody has clicked"],
  inactive_ad: ["Inactive ad", "the ad was paused or archived"],
  rate_limited: ["Rate limited", "too many from one client"],
};

export const DEVICES = { desktop: "Desktop", mobile: "Mobile", tablet: "Tablet", tv: "TV", bot: "Bot", other: "Other", unknown: "Unknown" };

export const CAUSES = {
  late: "clicks came too late to be counted live",
  lost_in_stream: "live counting had missed clicks",
  counted_twice: "live counting had counted repeats",
  quarantined: "clicks had been put aside as unreadable",
  promoted: "a duplicate took the place of a click that was lost",
  unclaimed: "it was decided late whose click came first",
  restated: "counted again under today’s rules",
  unknown: "the cause cannot be told",
};

export const OUTCOMES = {
  sealed: "Sealed", unchanged: "Unchanged", waiting: "Waiting for the record", disputed: "Disputed", adjusted: "Adjusted after closing", overtaken: "Overtaken by another run", shown: "Dry run",
};

export const ENTITIES = { total: "All clicks", advertiser: "Advertiser", campaign: "Campaign", ad: "Ad", placement: "Placement" };

const names = typeof Intl.DisplayNames === "function" ? new Intl.DisplayNames(undefined, { type: "region" }) : null;
export const country = (code) => {
  if (code === "ZZ") return "Unknown country";
  try {
    return names?.of(code) ?? code;
  } catch {
    return code;
  }
};

const whole = new Intl.NumberFormat();
const compact = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const percent = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 1 });
const wholePercent = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });

export const number = (value) => whole.format(value);
export const short = (value) => (Math.abs(value) < 10_000 ? whole.format(value) : compact.format(value));
export const share = (value) => percent.format(value);
export const rate = (value) => tenth.format(value);
export const signed = (value) => (value > 0 ? `+${whole.format(value)}` : value < 0 ? `−${whole.format(-value)}` : "±0");

/** "1 click", "2 clicks". */
export const many = (count, one, more = `${one}s`) => `${whole.format(count)} ${count === 1 ? one : more}`;

/** How much more or less than before: a sign, a text, and the same spoken. Null where there is nothing to compare with. */
export const change = (value, before, { points = false } = {}) => {
  if (value === null || value === undefined || before === null || before === undefined) return null;
  const difference = value - before;
  if (difference === 0) return { sign: 0, text: "same", spoken: "the same as before" };
  const sign = Math.sign(difference);
  const way = sign > 0 ? "up" : "down";
  if (points) {
    const number = tenth.format(Math.abs(difference) * 100);
    if (number === tenth.format(0)) return { sign: 0, text: "same", spoken: "the same as before" };
    const size = `${number} pt`;
    return { sign, text: size, spoken: `${way} ${size.replace(" pt", " percentage points")}` };
  }
  if (before === 0) return { sign, text: "new", spoken: "there was nothing before" };
  const ratio = Math.abs(difference) / before;
  if (ratio < 0.0005) return { sign: 0, text: "about the same", spoken: "about the same as before" };
  const size = ratio >= 10 ? `${tenth.format(value / before)}×` : (ratio >= 0.0995 ? wholePercent : percent).format(ratio);
  return { sign, text: size, spoken: `${way} ${size}` };
};

/** A problem's detail as a sentence. */
export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?…]$/.test(text) ? "" : ".");

const format = (options) => {
  const made = new Intl.DateTimeFormat(undefined, { timeZone: "UTC", ...options });
  return (wall) => made.format(wall);
};
// Of wall clocks: see time.js.
export const clock = format({ hour: "numeric", minute: "2-digit" });
const halves = new Intl.DateTimeFormat(undefined, { hour: "numeric" }).resolvedOptions().hour12;
const wholeHour = halves ? format({ hour: "numeric" }) : clock;
/** A clock as short as it can be: "2 PM", "14:00". */
export const hour = (wall) => (wall % 3_600_000 === 0 ? wholeHour : clock)(wall);
export const day = format({ day: "numeric", month: "short" });
export const weekday = format({ weekday: "short", day: "numeric", month: "short" });
export const date = format({ day: "numeric", month: "short", year: "numeric" });
export const moment = format({ weekday: "short", day: "numeric", month: "short", hour: "numeric", minute: "2-digit" });

/** "3 min", "2 h", "4 d". */
export const span = (ms) => {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 90) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 100) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} d`;
};
