// The page: draws what the feed knows, shows exact values, keeps the state of the connection in sight.
// Numbers of the market are strings from the daemon; they become floats only to be drawn.

import { Feed } from "./feed.js";

const { createChart, createSeriesMarkers, CandlestickSeries, HistogramSeries, CrosshairMode } = window.LightweightCharts;
const byId = (id) => document.getElementById(id);
const TABS_MAX = 6;

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

// ---- theme

const wantsLight = window.matchMedia("(prefers-color-scheme: light)");
const storedTheme = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
const theme = () => storedTheme() ?? (wantsLight.matches ? "light" : "dark");
const applyTheme = () => { document.documentElement.dataset.theme = theme(); };
applyTheme();

// ---- chart

const chart = createChart(byId("chart"), {
  autoSize: true,
  layout: { attributionLogo: false, background: { color: "transparent" }, fontSize: 12 },
  crosshair: { mode: CrosshairMode.Normal },
  timeScale: { timeVisible: true, secondsVisible: false, rightOffset: 4, minBarSpacing: 0.5 },
  rightPriceScale: { scaleMargins: { top: 0.18, bottom: 0.24 } },
  handleScale: { axisPressedMouseMove: { price: true, time: true } },
});
const candles = chart.addSeries(CandlestickSeries, { priceLineVisible: true });
const volume = chart.addSeries(HistogramSeries, {
  priceScaleId: "volume", priceFormat: { type: "volume" }, lastValueVisible: false, priceLineVisible: false,
});
chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
const markers = createSeriesMarkers(candles, []);

let palette = {};
function applyPalette() {
  palette = Object.fromEntries(["page", "line", "text", "quiet", "up", "down", "doubt", "revised"].map((n) => [n, color(n)]));
  chart.applyOptions({
    layout: { textColor: palette.quiet, background: { color: palette.page } },
    grid: { vertLines: { color: palette.line }, horzLines: { color: palette.line } },
    timeScale: { borderColor: palette.line },
  });
  chart.priceScale("right").applyOptions({ borderColor: palette.line });
  candles.applyOptions({
    upColor: palette.up, borderUpColor: palette.up, wickUpColor: palette.up,
    downColor: palette.down, borderDownColor: palette.down, wickDownColor: palette.down,
  });
}
applyPalette();

// ---- exact numbers as text

const decimalsOf = (text) => (text.split(".")[1] ?? "").replace(/0+$/, "").length;
function show(text, decimals) {
  const [whole, fraction = ""] = text.split(".");
  const kept = fraction.replace(/0+$/, "").padEnd(decimals, "0");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return kept ? `${grouped}.${kept}` : grouped;
}

// Difference of two exact decimals of eight places, in percent of the first: BigInt, no float.
function changeInPercent(from, to) {
  const units = (text) => BigInt(text.replace(".", ""));
  const start = units(from);
  if (start === 0n) return "";
  const hundredths = ((units(to) - start) * 10000n) / start;
  const sign = hundredths < 0n ? "−" : hundredths > 0n ? "+" : "";
  const size = (hundredths < 0n ? -hundredths : hundredths).toString().padStart(3, "0");
  return `${sign}${size.slice(0, -2)}.${size.slice(-2)} %`;
}

// ---- what is on the page

let feed = null;
let decimals = 2;
let hovered = null; // open time in ms of the bar under the crosshair
let newestTime = null;
let status = null;
let lostAt = null; // since when the daemon is silent

const seconds = (bar) => bar.open_time / 1000;
const rising = (bar) => Number(bar.close) >= Number(bar.open);
const doubtful = (bar) => bar.closed && !bar.complete;

function candle(bar) {
  const point = { time: seconds(bar), open: Number(bar.open), high: Number(bar.high), low: Number(bar.low), close: Number(bar.close) };
  if (doubtful(bar)) Object.assign(point, { borderColor: palette.doubt, wickColor: palette.doubt });
  return point;
}
function column(bar) {
  return { time: seconds(bar), value: Number(bar.volume), color: `${rising(bar) ? palette.up : palette.down}80` };
}
function mark(bar) {
  if (doubtful(bar)) return { time: seconds(bar), position: "belowBar", shape: "circle", size: 0.1, color: palette.doubt, text: "?" };
  if (bar.revision > 0) return { time: seconds(bar), position: "aboveBar", shape: "circle", size: 0.5, color: palette.revised };
  return null;
}

function drawMarks(bars) {
  markers.setMarkers(bars.map(mark).filter((one) => one !== null));
}

function drawAll() {
  const bars = feed.sorted();
  decimals = Math.max(0, ...bars.slice(-200).flatMap((bar) => [decimalsOf(bar.open), decimalsOf(bar.close)]));
  const minMove = 10 ** -decimals;
  const formatter = (price) => show(price.toFixed(decimals), decimals);
  candles.applyOptions({ priceFormat: { type: "custom", minMove, formatter } });
  candles.setData(bars.map(candle));
  volume.setData(bars.map(column));
  drawMarks(bars);
  newestTime = bars.length ? bars[bars.length - 1].open_time : null;
  drawEmpty();
  drawLegend();
}

function drawOne(bar) {
  if (newestTime !== null && bar.open_time < newestTime) {
    if (feed.bars.size !== candles.data().length) return drawAll(); // a bar that was not there before
    candles.update(candle(bar), true);
    volume.update(column(bar), true);
  } else {
    candles.update(candle(bar));
    volume.update(column(bar));
    newestTime = bar.open_time;
    drawEmpty();
  }
  if (bar.closed) drawMarks(feed.sorted());
  if (hovered === null || hovered === bar.open_time) drawLegend();
}

function drawEmpty() {
  byId("empty").hidden = feed.bars.size > 0;
  byId("empty").textContent = feed.loaded
    ? `No ${feed.interval} bar of ${feed.symbol} yet: the next trade begins one.`
    : "Loading…";
}

function drawLegend() {
  const bar = feed?.bars.get(hovered) ?? feed?.bars.get(newestTime);
  byId("legend-symbol").textContent = feed?.symbol ?? "";
  document.title = bar && hovered === null ? `${show(bar.close, decimals)} ${feed.symbol} · candled` : document.title;
  byId("legend-prices").hidden = byId("legend-volumes").hidden = !bar;
  byId("legend").dataset.direction = bar ? (rising(bar) ? "up" : "down") : "";
  const set = (name, text) => { byId(`value-${name}`).textContent = text; };
  byId("legend-time").textContent = bar ? new Date(bar.open_time).toISOString().slice(0, 16).replace("T", " ") : "";
  for (const name of ["open", "high", "low", "close"]) set(name, bar ? show(bar[name], decimals) : "");
  for (const name of ["volume", "quote_volume", "taker_buy_volume"]) set(name, bar ? show(bar[name], 0) : "");
  set("change", bar ? changeInPercent(bar.open, bar.close) : "");
  set("trade_count", bar ? bar.trade_count.toLocaleString("en") : "");
  set("ids", bar && bar.first_trade_id !== null ? `${bar.first_trade_id}–${bar.last_trade_id}` : "–");
  const badges = [];
  if (bar && !bar.closed) badges.push(["forming", "forming"]);
  if (bar && doubtful(bar)) badges.push(["incomplete", "not proven complete"]);
  if (bar && bar.revision > 0) badges.push(["revised", `revision ${bar.revision}`]);
  byId("legend-marks").replaceChildren(...badges.map(([kind, text]) => {
    const badge = document.createElement("span");
    badge.className = `badge ${kind}`;
    badge.textContent = text;
    return badge;
  }));
}

// ---- state of the connection

function duration(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return ms < 60000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 60000)} min`;
}

function drawConnection(state, text) {
  const symbol = status?.symbols[feed.symbol];
  let shown = text;
  if (state === "live" && symbol) {
    if (!symbol.live) { state = "stale"; shown = "exchange stream not live"; }
    else if (symbol.gaps_open) shown = `live · repairing ${symbol.gaps_open} gap${symbol.gaps_open > 1 ? "s" : ""}`;
    else shown = `live · lag ${duration(symbol.lag_ms)}`;
  }
  byId("connection").dataset.state = state;
  document.body.dataset.state = state;
  byId("connection-text").textContent = shown;
  lostAt = state === "lost" ? lostAt ?? new Date() : null;
  if (lostAt) notify(`No news from the daemon since ${lostAt.toISOString().slice(11, 19)} UTC: the chart may be out of date.`);
  else notify((status?.not_ready_reasons ?? []).join(" "));
}

function notify(text) {
  byId("notice").hidden = text === "";
  byId("notice").textContent = text;
}

// ---- choosing

let choice = { symbol: "", interval: "1m" };
let market = { symbols: [], intervals: [] };

function readAddress() {
  const [symbol, interval] = decodeURIComponent(location.hash.slice(1)).split("/");
  choice = {
    symbol: market.symbols.includes(symbol) ? symbol : market.symbols[0],
    interval: market.intervals.includes(interval) ? interval : "1m",
  };
}

function choose(change) {
  location.hash = `${encodeURIComponent(change.symbol ?? choice.symbol)}/${change.interval ?? choice.interval}`;
}

function drawChoices() {
  const tab = (name, pressed, act) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.setAttribute("aria-pressed", pressed);
    button.addEventListener("click", act);
    return button;
  };
  if (market.symbols.length <= TABS_MAX) {
    byId("symbols").replaceChildren(...market.symbols.map((name) => tab(name, name === choice.symbol, () => choose({ symbol: name }))));
  } else {
    const select = document.createElement("select");
    select.append(...market.symbols.map((name) => new Option(name, name, false, name === choice.symbol)));
    select.addEventListener("change", () => choose({ symbol: select.value }));
    byId("symbols").replaceChildren(select);
  }
  byId("intervals").replaceChildren(...market.intervals.map((name) => tab(name, name === choice.interval, () => choose({ interval: name }))));
}

function follow() {
  feed?.stop();
  hovered = null;
  newestTime = null;
  status = null;
  drawChoices();
  feed = new Feed(choice.symbol, choice.interval, {
    reset: drawAll,
    changed: drawOne,
    status: (news) => { status = news; drawAbout(); drawConnection("live", "live"); },
    connection: drawConnection,
  });
  drawAll();
  feed.start();
  chart.timeScale().resetTimeScale();
  chart.timeScale().scrollToRealTime();
}

function drawAbout() {
  byId("about").textContent = `candled ${status?.version ?? market.version} on ${status?.exchange ?? market.exchange}`;
}

// ---- what the user does

chart.subscribeCrosshairMove((event) => {
  hovered = event.time === undefined ? null : event.time * 1000;
  drawLegend();
});
chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
  if (!range || !feed) return;
  if (range.from < 60) feed.loadOlder();
  byId("newest").hidden = range.to >= candles.data().length - 1;
});
byId("newest").addEventListener("click", () => chart.timeScale().scrollToRealTime());
byId("theme").addEventListener("click", () => {
  try { localStorage.setItem("theme", theme() === "dark" ? "light" : "dark"); } catch { /* the choice is not kept */ }
  document.documentElement.dataset.theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  applyPalette();
  drawAll();
});
wantsLight.addEventListener("change", () => { applyTheme(); applyPalette(); drawAll(); });
window.addEventListener("hashchange", () => { readAddress(); follow(); });

// ---- start

// With tokens the daemon answers 401 until one was given; it then keeps it in a cookie that no script can read.

async function askToken() {
  byId("connection").dataset.state = "stale";
  byId("connection-text").textContent = "a token is needed";
  await new Promise((resolve) => byId("token").addEventListener("submit", (event) => {
    event.preventDefault();
    resolve();
  }, { once: true }));
  const token = byId("token-value").value.trim();
  const answer = await fetch("api/token", { method: "POST", headers: { Authorization: `Bearer ${token}` } });
  notify(answer.status === 401 ? "The daemon does not accept this token: try another." : "");
}

async function start() {
  for (;;) {
    let reason = "The daemon does not answer.";
    try {
      const answer = await fetch("api/symbols");
      byId("token").hidden = answer.status !== 401;
      if (answer.status === 401) {
        await askToken();
        continue;
      }
      const found = await answer.json();
      if (answer.ok) {
        market = found;
        if (market.symbols.length) break;
        reason = "The daemon has no symbol yet.";
      } else {
        reason = found.error;
      }
    } catch { /* it does not answer */ }
    byId("connection").dataset.state = "lost";
    byId("connection-text").textContent = "not connected, trying again";
    notify(reason);
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
  notify("");
  drawAbout();
  readAddress();
  follow();
}

// For the browser's console and for tests: what is known, exactly, and what is drawn of it.
window.candled = { bars: () => feed.sorted(), drawn: () => candles.data(), loadOlder: () => feed.loadOlder(), chart };

start();
