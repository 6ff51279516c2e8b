/** Numbers, times and amounts as people read them. */

const LOCALE = "en";
const whole = new Intl.NumberFormat(LOCALE, { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat(LOCALE, { notation: "compact", maximumFractionDigits: 1 });
const day = new Intl.DateTimeFormat(LOCALE, { dateStyle: "medium", timeZone: "UTC" });
const moment = new Intl.DateTimeFormat(LOCALE, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });
const clock = new Intl.DateTimeFormat(LOCALE, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});
const clockShort = new Intl.DateTimeFormat(LOCALE, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const month = new Intl.DateTimeFormat(LOCALE, { month: "long", year: "numeric", timeZone: "UTC" });

/** What there is nothing to say of. */
export const NONE = "–";

export const count = (value: number): string =>
  Math.abs(value) < 10_000 ? whole.format(value) : compact.format(value);

export const exact = (value: number): string => whole.format(value);

/** Three digits that matter. */
export function digits(value: number): string {
  if (value === 0) return "0";
  if (Math.abs(value) >= 100) return whole.format(value);
  return value.toFixed(Math.abs(value) >= 10 ? 1 : 2);
}

/** A round number, such as one of an axis: no more digits than it has. */
export const round = (value: number): string => String(Number(value.toPrecision(6)));

export function percent(share: number): string {
  const value = share * 100;
  if (value === 0) return "0 %";
  if (value < 0.01) return "< 0.01 %";
  return `${value >= 10 ? value.toFixed(1) : value.toFixed(2)} %`;
}

/** A duration in milliseconds. */
export function milliseconds(value: number | null | undefined): string {
  if (value === null || value === undefined) return NONE;
  if (value >= 60_000) return duration(value / 1000);
  if (value >= 1000) return `${digits(value / 1000)} s`;
  if (value > 0 && value < 0.01) return "< 0.01 ms";
  return `${digits(value)} ms`;
}

export const microseconds = (value: number): string => milliseconds(value / 1000);

/** A duration in seconds: the two largest units of it. */
export function duration(seconds: number): string {
  const units: [string, number][] = [
    ["d", 86_400],
    ["h", 3600],
    ["min", 60],
    ["s", 1],
  ];
  let rest = Math.max(0, Math.round(seconds));
  const parts: string[] = [];
  for (const [name, size] of units) {
    const value = Math.floor(rest / size);
    rest -= value * size;
    if (value > 0) parts.push(`${value} ${name}`);
    if (parts.length === 2) break;
  }
  return parts.length === 0 ? "0 s" : parts.join(" ");
}

export function bytes(value: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let size = value;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? whole.format(size) : digits(size)} ${units[unit] ?? ""}`;
}

/** A decimal amount, which is text and stays exact. */
export function money(amount: string, currency: string): string {
  const [integer = "0", cents = ""] = amount.split(".");
  const grouped = integer.replace(/\B(?=(\d{3})+$)/g, ",");
  return `${grouped}.${cents.padEnd(2, "0")} ${currency === "USD" ? "$" : currency === "EUR" ? "€" : currency}`;
}

const time = (value: number | string): Date => new Date(value);
export const date = (value: number | string): string =>
  Number.isNaN(time(value).getTime()) ? NONE : moment.format(time(value));
export const dayOf = (value: number | string): string => day.format(time(value));
export const clockOf = (value: number | string): string => clock.format(time(value));
export const clockShortOf = (value: number | string): string => clockShort.format(time(value));
export const monthOf = (name: string): string => month.format(new Date(`${name}-01T00:00:00Z`));

/** How long ago something was. */
export function ago(value: number | string, now = Date.now()): string {
  const seconds = (now - time(value).getTime()) / 1000;
  if (!Number.isFinite(seconds)) return NONE;
  if (seconds < 5) return "just now";
  return `${duration(seconds).split(" ").slice(0, 2).join(" ")} ago`;
}

/** The first digits of an id: enough to tell versions apart. */
export const short = (id: string): string => id.slice(0, 8);

/** A word of the API as a person writes it, such as `rolled_back`. */
export function words(name: string): string {
  const spaced = name
    .replace(/[._-]+/g, " ")
    .replace(/([a-z])([A-Z])/g, "$1 $2")
    .toLowerCase();
  return spaced.charAt(0).toUpperCase() + spaced.slice(1);
}
