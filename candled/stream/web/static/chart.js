// The page: which charts are shown, what the buttons and keys do, and the state of the connection in sight.
// Numbers of the market are strings from the daemon; they become floats only to be drawn.

import { fill, resolve } from "./address.js";
import { ExchangeClock } from "./clock.js";
import { listCorrections } from "./correction-table.js";
import { Corrections } from "./corrections.js";
import { COUNTS, Grid } from "./grid.js";
import { bindKeys } from "./keys.js";
import { listIndicators } from "./indicator-list.js";
import { findMarket } from "./market.js";
import { csvOf, fileName, picture, save } from "./saving.js";
import { show } from "./numbers.js";
import { Streams } from "./streams.js";
import { onTheme, toggleTheme } from "./theme.js";
import { Watchlist } from "./watchlist.js";
import { SCALES, readTime, remember, rememberCharts, remembered, rememberedCharts, showClock, showDate, writeHash, zoneName } from "./view.js";

const byId = (id) => document.getElementById(id);
const TABS_MAX = 6;

let market = { symbols: [], intervals: [] };
let choices = []; // of each chart: { symbol, interval }
let at = 0; // place of the active one
let view = remembered();
let linkProblem = ""; // what of the address cannot be shown
let lostAt = null; // exchange's time in ms, if it is known, since when the daemon is silent

const clock = new ExchangeClock();
const corrections = new Corrections();
const shared = { streams: new Streams(), clock, corrections };
const grid = new Grid(byId("panes"), view, shared, {
  connection: drawConnection, price: drawTitle, status: drawAbout, scale: nextScale, corrected: drawCorrections, activated,
});
const watchlist = new Watchlist(byId, clock, (symbol, isLast) => {
  choose({ symbol });
  if (isLast && isNarrow()) foldList();
});

// ---- state of the connection

function drawConnection() {
  const { state, text } = grid.active.connection;
  const before = document.body.dataset.state;
  byId("connection").dataset.state = state;
  document.body.dataset.state = state;
  byId("connection-text").textContent = text;
  byId("connection").title = text; // where there is no room for all of it
  if (state !== before) {
    byId("state").textContent = state === "live" ? "live" : text; // spoken, so not with every lag
    drawTitle();
  }
  lostAt = state === "lost" ? lostAt ?? clock.now() ?? Date.now() : null;
  drawNotice();
}

function drawNotice() {
  if (lostAt) notify(`No news from the daemon since ${new Date(lostAt).toISOString().slice(11, 19)} UTC: the chart may be out of date.`);
  else notify([linkProblem, ...grid.panes.map((pane) => pane.unreachable), ...(grid.active.status?.not_ready_reasons ?? [])].filter((text) => text).join(" "));
}

function notify(text) {
  byId("notice").hidden = text === "";
  byId("notice").textContent = text;
}

// A tab in the background is read by its title alone, so an old price is not in it.
function drawTitle() {
  const pane = grid.active;
  const bar = pane.newest;
  const isLive = pane.connection.state === "live";
  document.title = !pane.feed ? "candled" : bar && isLive
    ? `${show(bar.close, pane.decimals)} ${pane.symbol} · candled`
    : `${isLive ? "" : "(not live) "}${pane.symbol} · candled`;
}

function drawAbout(status) {
  const answered = status?.process ? `, from ${status.process}` : "";
  byId("about").textContent = `candled ${status?.version ?? market.version} on ${status?.exchange ?? market.exchange}${answered}`;
  byId("about").title = (status?.ingesters ?? []).map((each) => `${each.name}, rank ${each.rank}${each.ready ? "" : ", not ready"}`).join("\n");
}

function drawCorrections() {
  byId("corrections-count").textContent = corrections.all.length;
}

// ---- choosing

function readAddress() {
  const link = resolve(location.hash || rememberedCharts(), market);
  ({ choices, at } = link);
  linkProblem = link.problem;
  if (link.view) view = link.view;
}

function choose({ symbol = choices[at].symbol, interval = choices[at].interval }) {
  const changed = choices.map((choice, i) => i === at ? { symbol, interval } : choice);
  location.hash = writeHash(changed, at, view);
}

function lay(count) {
  const kept = count < choices.length ? [choices[at], ...choices.filter((_, i) => i !== at)] : choices;
  location.hash = writeHash(fill(kept, count, market), count < choices.length ? 0 : at, view);
}

// The reader turned to another chart: buttons and keys are for that one.
function activated(place) {
  at = place;
  replaceAddress();
  rememberCharts(choices, at);
  drawChoices();
  drawConnection();
  drawTitle();
}

function replaceAddress() { history.replaceState(null, "", writeHash(choices, at, view)); }

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
  byId("symbols").replaceChildren(...(many ? [] : market.symbols).map((name) => tab(name, name === choices[at].symbol, () => choose({ symbol: name }))));
  byId("symbol").replaceChildren(...market.symbols.map((name) => new Option(name, name, false, name === choices[at].symbol)));
  const focused = byId("intervals").contains(document.activeElement);
  byId("intervals").replaceChildren(...market.intervals.map((name) => tab(name, name === choices[at].interval, () => choose({ interval: name }))));
  const pressed = byId("intervals").querySelector("[aria-pressed=true]");
  pressed?.scrollIntoView({ block: "nearest", inline: "center" });
  if (focused) pressed?.focus();
  watchlist.mark(choices[at].symbol);
}

function follow() {
  drawChoices();
  drawView();
  rememberCharts(choices, at);
  grid.show(choices, at, view);
  for (const button of document.querySelectorAll("[data-charts]")) button.setAttribute("aria-pressed", Number(button.dataset.charts) === choices.length);
}

function step(by) {
  readAddress(); // the step before may not have been followed yet
  const { symbols } = market;
  choose({ symbol: symbols[(symbols.indexOf(choices[at].symbol) + by + symbols.length) % symbols.length] });
}

// ---- view

function drawView() {
  drawList();
  byId("zone").textContent = view.zone === "utc" ? "UTC" : "Local";
  byId("zone").setAttribute("aria-label", `Times in ${zoneName(view)}; change`);
  byId("zone-name").textContent = byId("goto-zone").textContent = zoneName(view);
}

function changeView(change) {
  view = { ...view, ...change };
  remember(view);
  replaceAddress();
  drawView();
  grid.changeView(view);
}

function nextScale() {
  changeView({ scale: SCALES[(SCALES.indexOf(view.scale) + 1) % SCALES.length] });
}

// ---- watchlist: beside the chart where there is room, over it for a moment where there is not

const narrow = window.matchMedia("(max-width: 1023px)");
const isNarrow = () => narrow.matches;
let isOver = false; // over the chart, on a narrow page

function drawList() {
  const isOpen = isNarrow() ? isOver : view.list === null ? market.symbols.length > 1 : view.list === "open";
  byId("watchlist").hidden = !isOpen;
  byId("open-list").setAttribute("aria-expanded", isOpen);
  document.body.classList.toggle("with-list", isOpen && !isNarrow());
}

function openList(isOpen) {
  isOver = isOpen;
  if (isNarrow()) drawList();
  else changeView({ list: isOpen ? "open" : "closed" });
}

function foldList() {
  const hadFocus = byId("watchlist").contains(document.activeElement);
  openList(false);
  if (hadFocus) byId("open-list").focus();
}

function toggleList() {
  if (byId("watchlist").hidden) openList(true);
  else foldList();
}

function search() {
  if (byId("watchlist").hidden) openList(true);
  watchlist.search();
}

// ---- dialogs

function open(name) {
  if (document.querySelector("dialog[open]")) return;
  byId(name).showModal();
  byId(name).scrollTop = 0; // the focus on a button at its end scrolled it there
}

function openIndicators() {
  listIndicators(byId("indicator-list"), view.indicators, (indicators) => changeView({ indicators }));
  open("indicators");
}

function openGoTo() {
  const pane = grid.active;
  const bar = pane.feed?.bars.get(pane.hovered) ?? pane.newest;
  if (bar) byId("goto-time").value = `${showDate(bar.open_time, view)}T${showClock(bar.open_time, view)}`;
  open("goto");
}

function openCorrections() {
  const nameOf = (bar) => `${bar.symbol} ${bar.interval} ${showDate(bar.open_time, view)} ${showClock(bar.open_time, view)}`;
  listCorrections(byId("corrections-list"), corrections.all, nameOf, (ms) => grid.active.shownSecond(ms), (bar) => {
    if (bar.symbol === grid.active.symbol && bar.interval === grid.active.interval) goTo(bar.open_time);
    else choose(bar);
  });
  open("corrections");
}

async function goTo(ms) {
  if (Number.isNaN(ms)) return;
  notify("Loading…");
  await grid.active.goTo(ms);
  drawNotice();
}

// ---- files and full screen

function saveBars() {
  const { seen } = grid.active;
  if (seen.length) save(fileName(seen[0], "csv"), new Blob([csvOf(seen)], { type: "text/csv" }));
}

function savePicture() {
  const [first] = grid.active.seen;
  const time = clock.now();
  if (!first || time === null) return;
  const names = choices.map(({ symbol, interval }) => `${symbol} ${interval}`).join(", ");
  const source = `${names} · ${byId("about").textContent} · ${new Date(time).toISOString().slice(0, 19)}Z · drawn by TradingView Lightweight Charts`;
  picture(byId("panes"), grid.panes.map((pane) => pane.drawing), source).toBlob((blob) => save(fileName(first, "png"), blob));
}

function toggleFullscreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else document.documentElement.requestFullscreen?.().catch(() => notify("The browser refuses full screen."));
}

// ---- what the user does

byId("symbol").addEventListener("change", (event) => choose({ symbol: event.target.value }));
byId("open-list").addEventListener("click", toggleList);
byId("watch-close").addEventListener("click", foldList);
byId("watchlist").addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  if (isNarrow()) foldList();
  else byId("chart").focus();
});
narrow.addEventListener("change", drawList);
byId("theme").addEventListener("click", toggleTheme);
onTheme(() => grid.recolor());
window.addEventListener("hashchange", () => { readAddress(); follow(); });
byId("open-indicators").addEventListener("click", openIndicators);
byId("open-goto").addEventListener("click", openGoTo);
byId("open-more").addEventListener("click", openMore);
byId("more").addEventListener("close", () => ACTIONS[byId("more").returnValue]?.());
byId("open-corrections").addEventListener("click", openCorrections);
byId("open-help").addEventListener("click", () => open("help"));
byId("zone").addEventListener("click", () => changeView({ zone: view.zone === "utc" ? "local" : "utc" }));
byId("goto").addEventListener("close", () => { if (byId("goto").returnValue === "go") goTo(readTime(byId("goto-time").value, view)); });

const ACTIONS = { ...Object.fromEntries(COUNTS.map((count) => [`charts-${count}`, () => lay(count)])), picture: savePicture, csv: saveBars, fullscreen: toggleFullscreen };

function openMore() {
  byId("more").returnValue = ""; // what was chosen before is not chosen by Escape
  open("more");
}

bindKeys(() => market.symbols.length > 0, {
  i: openIndicators,
  g: openGoTo,
  n: () => grid.active.showNewest(),
  z: () => byId("zone").click(),
  r: openCorrections,
  p: savePicture,
  c: saveBars,
  f: toggleFullscreen,
  m: openMore,
  l: nextScale,
  t: toggleTheme,
  w: toggleList,
  "/": search,
  ...Object.fromEntries(COUNTS.map((count) => [String(count), () => lay(count)])),
  "?": () => open("help"),
  "[": () => step(-1),
  "]": () => step(1),
});

// ---- start

async function start() {
  market = await findMarket(notify);
  drawAbout();
  readAddress();
  follow();
  watchlist.serve(market.symbols);
}

// For the browser's console and for tests: what is known, exactly, and what is drawn of it.
window.candled = {
  get chart() { return grid.active.plot.chart; },
  bars: () => grid.active.feed.sorted(),
  drawn: () => grid.active.plot.candles.data(),
  marks: () => grid.active.plot.markers.markers(),
  lines: () => grid.active.plot.overlays.lines.map((line) => line.series.places()),
  place: (price) => grid.active.plot.candles.priceToCoordinate(price),
  indicators: (time) => grid.active.plot.overlays.at(time),
  loadOlder: () => grid.active.feed.loadOlder(),
  day: (symbol) => watchlist.figures(symbol),
  panes: () => grid.panes,
  goTo,
};

start();
