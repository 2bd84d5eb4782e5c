// The page: draws what the feed knows, shows exact values, keeps the state of the connection in sight.
// Numbers of the market are strings from the daemon; they become floats only to be drawn.

import { Feed } from "./feed.js";

const { createChart, createSeriesMarkers, CandlestickSeries, HistogramSeries, CrosshairMode, LineStyle } = window.LightweightCharts;
const byId = (id) => document.getElementById(id);
const TABS_MAX = 6;
const SPACING_MIN = 7; // pixels from bar to bar at first sight
const SPACING_MAX = 20;

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
  rightPriceScale: { scaleMargins: { top: 0.18, bottom: 0.24 }, entireTextOnly: true },
  handleScale: { axisPressedMouseMove: { price: true, time: true } },
});
// The library's own label tells the last bar in sight; ours tells the present, wherever one looks.
const candles = chart.addSeries(CandlestickSeries, { priceLineVisible: false, lastValueVisible: false });
let priceLine = null;
const volume = chart.addSeries(HistogramSeries, {
  priceScaleId: "volume", priceFormat: { type: "volume" }, lastValueVisible: false, priceLineVisible: false,
});
chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
const markers = createSeriesMarkers(candles, []);

let palette = {};
function applyPalette() {
  palette = Object.fromEntries(["page", "line", "label", "text", "quiet", "up", "down", "doubt", "revised"].map((n) => [n, color(n)]));
  chart.applyOptions({
    layout: { textColor: palette.quiet, background: { color: palette.page } },
    grid: { vertLines: { color: `${palette.line}99` }, horzLines: { color: `${palette.line}99` } },
    crosshair: {
      vertLine: { color: palette.quiet, labelBackgroundColor: palette.label },
      horzLine: { color: palette.quiet, labelBackgroundColor: palette.label },
    },
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
let pointed = null; // the same where the keyboard put it
let newestTime = null;
let status = null;
let lostAt = null; // since when the daemon is silent
let fitted = false; // whether the first sight of this choice was arranged

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
  if (doubtful(bar)) return { time: seconds(bar), position: "belowBar", shape: "circle", size: 0, color: palette.doubt, text: "?" };
  if (bar.closed && bar.revision > 0) return { time: seconds(bar), position: "aboveBar", shape: "circle", size: 0, color: palette.revised, text: "•" };
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
  if (feed.loaded && !fitted) fit(bars.length);
  drawPrice();
  drawEmpty();
  drawLegend();
}

// A long history at a width that is easy on the eye, a short one wider, the newest bar at the right.
function fit(count) {
  const width = chart.timeScale().width();
  const barSpacing = Math.min(SPACING_MAX, Math.max(SPACING_MIN, width / (count + 8)));
  chart.timeScale().applyOptions({ barSpacing });
  chart.timeScale().scrollToPosition(4, false);
  fitted = count > 0;
}

function drawPrice() {
  drawTitle();
  const bar = feed?.bars.get(newestTime);
  if (!bar) {
    if (priceLine) candles.removePriceLine(priceLine);
    priceLine = null;
    return;
  }
  const tint = document.body.dataset.state !== "live" ? palette.quiet : rising(bar) ? palette.up : palette.down;
  const options = { price: Number(bar.close), color: tint, axisLabelColor: tint, axisLabelTextColor: palette.page, lineWidth: 1, lineStyle: LineStyle.Dotted };
  if (priceLine) priceLine.applyOptions(options);
  else priceLine = candles.createPriceLine(options);
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
    drawPrice();
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

// A tab in the background is read by its title alone, so an old price is not in it.
function drawTitle() {
  const bar = feed?.bars.get(newestTime);
  const fresh = document.body.dataset.state === "live";
  document.title = !feed ? "candled" : bar && fresh ? `${show(bar.close, decimals)} ${feed.symbol} · candled` : `${fresh ? "" : "(not live) "}${feed.symbol} · candled`;
}

// ---- state of the connection

function duration(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return ms < 60000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 60000)} min`;
}

function drawConnection(state, text) {
  const before = document.body.dataset.state;
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
  byId("connection").title = shown; // where there is no room for all of it
  if (state !== before) {
    byId("state").textContent = state === "live" ? "live" : shown; // spoken, so not with every lag
    drawPrice();
  }
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
  // Tabs, or where they would be too many or too wide (the style knows) a list.
  const many = market.symbols.length > TABS_MAX;
  document.body.classList.toggle("many-symbols", many);
  byId("symbols").replaceChildren(...(many ? [] : market.symbols).map((name) => tab(name, name === choice.symbol, () => choose({ symbol: name }))));
  byId("symbol").replaceChildren(...market.symbols.map((name) => new Option(name, name, false, name === choice.symbol)));
  const focused = byId("intervals").contains(document.activeElement);
  byId("intervals").replaceChildren(...market.intervals.map((name) => tab(name, name === choice.interval, () => choose({ interval: name }))));
  const pressed = byId("intervals").querySelector("[aria-pressed=true]");
  pressed?.scrollIntoView({ block: "nearest", inline: "center" });
  if (focused) pressed?.focus();
}

function follow() {
  feed?.stop();
  hovered = pointed = null;
  newestTime = null;
  status = null;
  fitted = false;
  drawChoices();
  chart.timeScale().applyOptions({ timeVisible: !/[dwM]$/.test(choice.interval) });
  feed = new Feed(choice.symbol, choice.interval, {
    reset: drawAll,
    changed: drawOne,
    status: (news) => { status = news; drawAbout(); },
    connection: drawConnection,
  });
  drawAll();
  feed.start();
}

function drawAbout() {
  byId("about").textContent = `candled ${status?.version ?? market.version} on ${status?.exchange ?? market.exchange}`;
}

// ---- what the user does

chart.subscribeCrosshairMove((event) => {
  if (event.sourceEvent) pointed = null; // the mouse takes over
  hovered = pointed ?? (event.time === undefined ? null : event.time * 1000);
  drawLegend();
});
chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
  if (!range || !feed) return;
  if (range.from < 60) feed.loadOlder();
  byId("newest").hidden = range.to >= candles.data().length - 1;
});
byId("newest").addEventListener("click", () => chart.timeScale().scrollToRealTime());
byId("symbol").addEventListener("change", (event) => choose({ symbol: event.target.value }));

// The keyboard does what the mouse does: the crosshair goes from bar to bar and is read out.
byId("chart").addEventListener("keydown", (event) => {
  const bars = feed?.sorted() ?? [];
  if (!bars.length || event.ctrlKey || event.metaKey || event.altKey) return;
  const scale = chart.timeScale();
  const here = bars.findIndex((bar) => bar.open_time === hovered);
  const last = bars.length - 1;
  const places = {
    ArrowLeft: here < 0 ? last : Math.max(0, here - 1),
    ArrowRight: here < 0 ? last : Math.min(last, here + 1),
    Home: 0,
    End: last,
  };
  if (event.key in places) point(bars, places[event.key]);
  else if (event.key === "Escape") unpoint();
  else if (event.key === "+" || event.key === "=") scale.applyOptions({ barSpacing: Math.min(60, scale.options().barSpacing * 1.25) });
  else if (event.key === "-") scale.applyOptions({ barSpacing: Math.max(1, scale.options().barSpacing / 1.25) });
  else return;
  event.preventDefault();
});
byId("chart").addEventListener("blur", unpoint);

function unpoint() {
  hovered = pointed = null;
  chart.clearCrosshairPosition();
  drawLegend();
}

function point(bars, place) {
  const bar = bars[place];
  const range = chart.timeScale().getVisibleLogicalRange();
  const shift = place < range.from ? place - range.from - 2 : place > range.to ? place - range.to + 2 : 0;
  if (shift) chart.timeScale().setVisibleLogicalRange({ from: range.from + shift, to: range.to + shift });
  hovered = pointed = bar.open_time;
  // Once the chart has moved: the crosshair is a place on the screen.
  requestAnimationFrame(() => {
    if (pointed === bar.open_time) chart.setCrosshairPosition(Number(bar.close), seconds(bar), candles);
  });
  drawLegend();
  byId("reading").textContent = `${byId("legend-time").textContent} ${byId("legend-marks").textContent}: open ${bar.open}, high ${bar.high}, low ${bar.low}, close ${bar.close}, volume ${bar.volume}`;
}
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
