// How the chart is looked at: indicators, time zone, price scale and watchlist, in the address and remembered on this machine.

import { KINDS, PERIOD_MAX } from "./indicators.js";

const KEY = "view";
const CHARTS_KEY = "charts";
const ZONES = ["utc", "local"];
export const SCALES = ["linear", "log", "percent"];
const LISTS = ["open", "closed"]; // the watchlist; null: as the page is wide

// "BTCUSDT/1m,ETHUSDT/5m?at=2&sma=20&vwap=&tz=local" -> { choices: [{ symbol, interval }], at, view }; at counts from 0,
// view is null where the address says nothing of it.
export function readHash(hash) {
  const [path, query = ""] = hash.replace(/^#/, "").split("?");
  const choices = path.split(",").map((part) => {
    const [symbol = "", interval = ""] = decodeURIComponent(part).split("/");
    return { symbol, interval };
  });
  const options = new URLSearchParams(query);
  const at = Number(options.get("at") ?? 1) - 1;
  options.delete("at");
  return { choices, at: choices[at] ? at : 0, view: options.size ? fromQuery(options) : null };
}

export function writeHash(choices, at, view) {
  const path = choices.map(({ symbol, interval }) => `${encodeURIComponent(symbol)}/${interval}`).join(",");
  const options = [at ? `at=${at + 1}` : "", toQuery(view)].filter((part) => part).join("&");
  return `#${path}${options ? `?${options}` : ""}`;
}

function toQuery(view) {
  const query = new URLSearchParams();
  for (const [name, period] of Object.entries(view.indicators)) query.set(name, period ?? "");
  if (view.zone !== "utc") query.set("tz", view.zone);
  if (view.scale !== "linear") query.set("scale", view.scale);
  if (view.list !== null) query.set("list", view.list);
  return query.toString();
}

function fromQuery(query) {
  const indicators = {};
  for (const [name, kind] of Object.entries(KINDS)) if (query.has(name)) indicators[name] = period(kind, query.get(name));
  return {
    indicators,
    zone: ZONES.includes(query.get("tz")) ? query.get("tz") : "utc",
    scale: SCALES.includes(query.get("scale")) ? query.get("scale") : "linear",
    list: LISTS.includes(query.get("list")) ? query.get("list") : null,
  };
}

// A period as it was typed, or the usual one where that is no period.
export function period(kind, typed) {
  if (kind.period === null) return null;
  const number = Number(typed);
  return Number.isInteger(number) && number >= 1 && number <= PERIOD_MAX ? number : kind.period;
}

export function remembered() {
  try {
    return fromQuery(new URLSearchParams(localStorage.getItem(KEY) ?? ""));
  } catch {
    return fromQuery(new URLSearchParams());
  }
}

export function remember(view) {
  try {
    localStorage.setItem(KEY, toQuery(view));
  } catch { /* the choice is not kept */ }
}

// Several charts are remembered too, one is not: the address alone says which.
export function rememberedCharts() {
  try {
    return localStorage.getItem(CHARTS_KEY) ?? "";
  } catch {
    return "";
  }
}

export function rememberCharts(choices, at) {
  try {
    if (choices.length > 1) localStorage.setItem(CHARTS_KEY, writeHash(choices, at, fromQuery(new URLSearchParams())));
    else localStorage.removeItem(CHARTS_KEY);
  } catch { /* the choice is not kept */ }
}

// ---- time

export const zoneName = (view) => view.zone === "utc" ? "UTC" : Intl.DateTimeFormat().resolvedOptions().timeZone;

function parts(ms, view, second = undefined) {
  const form = new Intl.DateTimeFormat("en-CA", {
    timeZone: view.zone === "utc" ? "UTC" : undefined, hourCycle: "h23",
    year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second,
  });
  return Object.fromEntries(form.formatToParts(ms).map(({ type, value }) => [type, value]));
}

export const showDate = (ms, view) => { const p = parts(ms, view); return `${p.year}-${p.month}-${p.day}`; };
export function showClock(ms, view, precision = "minute") {
  const p = parts(ms, view, precision === "second" ? "2-digit" : undefined);
  return precision === "second" ? `${p.hour}:${p.minute}:${p.second}` : `${p.hour}:${p.minute}`;
}

// "2026-05-17T06:40", as an input has it, in the zone of the view -> ms since 1970.
export const readTime = (typed, view) => Date.parse(view.zone === "utc" ? `${typed}Z` : typed);
