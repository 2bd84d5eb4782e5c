// The list of symbols with what they did in the last 24 hours: chosen by click or keyboard, searched, folded away.

import { changeInPercent, decimalsOf, show } from "./numbers.js";
import { WatchFeed } from "./watch-feed.js";

const DRAW_MS = 250; // more changes in a second than that nobody reads
const HOUR_MS = 3_600_000;

export class Watchlist {
  // part(name) -> element; clock: an ExchangeClock; choose(symbol, isLast): what a choice does; isLast: the reader is done
  constructor(part, clock, choose) {
    this.part = part;
    this.choose = choose;
    this.rows = new Map(); // symbol -> its option
    this.decimals = new Map(); // symbol -> decimals of its price, which only grow
    this.changed = new Set(); // symbols to draw
    this.chosen = "";
    this.feed = new WatchFeed(clock, {
      changed: (symbol) => this.#change(symbol),
      state: (isLive) => { part("watchlist").dataset.state = isLive ? "live" : "stale"; },
    });
    this.sight = new IntersectionObserver((entries) => this.#seen(entries), { root: part("watch-list") });
    this.inSight = new Set();
    part("watch-search").addEventListener("input", () => this.#filter());
    part("watch-search").addEventListener("keydown", (event) => this.#searching(event));
    part("watch-list").addEventListener("keydown", (event) => this.#pressed(event));
    part("watch-list").addEventListener("click", (event) => this.#pick(event.target.closest("[role=option]"), true));
  }

  serve(symbols) {
    const rows = symbols.map((symbol) => makeRow(symbol));
    this.rows = new Map(symbols.map((symbol, i) => [symbol, rows[i]]));
    this.part("watch-list").replaceChildren(...rows);
    for (const row of rows) this.sight.observe(row);
    this.mark(this.chosen);
  }

  mark(symbol) {
    this.chosen = symbol;
    for (const [name, row] of this.rows) {
      row.setAttribute("aria-selected", name === symbol);
      row.tabIndex = name === symbol ? 0 : -1;
    }
    const row = this.rows.get(symbol);
    row?.scrollIntoView({ block: "nearest" });
    if (row && this.part("watch-list").contains(document.activeElement)) row.focus();
  }

  search() {
    this.part("watch-search").focus();
    this.part("watch-search").select();
  }

  // What stands in a row, exactly: for tests and for the browser's console.
  figures(symbol) { return this.feed.figures(symbol); }

  #seen(entries) {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) this.inSight.add(target.dataset.symbol);
      else this.inSight.delete(target.dataset.symbol);
    }
    this.feed.watch([...this.inSight]);
  }

  #change(symbol) {
    if (this.changed.size === 0) setTimeout(() => this.#draw(), DRAW_MS);
    this.changed.add(symbol);
  }

  #draw() {
    for (const symbol of this.changed) this.#drawRow(symbol);
    this.changed.clear();
  }

  #drawRow(symbol) {
    const row = this.rows.get(symbol);
    const figures = this.feed.figures(symbol);
    if (!row || !figures || !this.feed.days.get(symbol).isWhole) return;
    const { last, first, high, low, volume, complete } = figures;
    const decimals = Math.max(this.decimals.get(symbol) ?? 0, ...[last, high, low].map(decimalsOf));
    this.decimals.set(symbol, decimals);
    const change = changeInPercent(first, last);
    row.dataset.direction = change.startsWith("−") ? "down" : change.startsWith("+") ? "up" : "";
    const set = (name, text) => {
      const cell = row.querySelector(`.watch-${name}`);
      if (cell.textContent !== text) cell.textContent = text;
    };
    set("last", show(last, decimals));
    set("change", change);
    set("high", show(high, decimals));
    set("low", show(low, decimals));
    set("volume", show(volume, 0));
    const length = figures.isShort ? hours(figures.length) : "";
    set("note", [length, complete ? "" : "?"].filter((text) => text).join(" "));
  }

  #shown() { return [...this.rows.values()].filter((row) => !row.hidden); }

  #filter() {
    const typed = this.part("watch-search").value.trim().toUpperCase();
    for (const [symbol, row] of this.rows) row.hidden = !symbol.toUpperCase().includes(typed);
    this.part("watch-list").scrollTop = 0;
    const shown = this.#shown();
    const reached = shown.find((row) => row.dataset.symbol === this.chosen) ?? shown[0]; // by the Tab key
    for (const row of this.rows.values()) row.tabIndex = row === reached ? 0 : -1;
    const count = shown.length;
    this.part("watch-none").hidden = count > 0;
    this.part("watch-count").textContent = typed ? `${count} of ${this.rows.size} symbols` : "";
  }

  #searching(event) {
    if (event.key === "Enter") this.#pick(this.#shown()[0], true);
    else if (event.key === "ArrowDown") this.#shown()[0]?.focus();
    else if (event.key === "Escape" && this.part("watch-search").value) { this.part("watch-search").value = ""; this.#filter(); }
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  // Arrows choose, as in a list of the browser's own.
  #pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const shown = this.#shown();
    const here = shown.indexOf(document.activeElement);
    const places = { ArrowUp: here - 1, ArrowDown: here + 1, Home: 0, End: shown.length - 1 };
    const isDone = event.key === "Enter" || event.key === " ";
    if (!isDone && !(event.key in places)) return;
    event.preventDefault();
    if (isDone) this.#pick(shown[here], true);
    else if (event.key === "ArrowUp" && here === 0) this.search();
    else this.#pick(shown[places[event.key]], false);
  }

  #pick(row, isLast) {
    if (!row) return;
    if (this.part("watch-list").contains(document.activeElement)) row.focus();
    this.choose(row.dataset.symbol, isLast);
  }
}

// History that is shorter than a day: how long it is.
function hours(ms) {
  return ms < HOUR_MS ? `${Math.max(1, Math.round(ms / 60_000))} min` : `${Math.round(ms / HOUR_MS)} h`;
}

function makeRow(symbol) {
  const row = document.createElement("div");
  row.className = "watch-row";
  row.setAttribute("role", "option");
  row.dataset.symbol = symbol;
  const span = (name, text = "") => Object.assign(document.createElement("span"), { className: name, textContent: text });
  const cell = (name, text = "", letter = "") => {
    const part = span("");
    if (letter) {
      const seen = span("", letter);
      seen.setAttribute("aria-hidden", "true");
      part.append(seen, span("spoken", name), " ");
    }
    part.append(span(`watch-${name}`, text));
    return part;
  };
  const [head, details] = [span("watch-head"), span("watch-details")];
  head.append(cell("symbol", symbol), cell("last", "–"), cell("change"));
  details.append(cell("high", "–", "H"), cell("low", "–", "L"), cell("volume", "–", "V"), cell("note"));
  row.append(head, details);
  return row;
}
