// The last 24 hours of the symbols in sight: their bars once, then one event stream for all of them.

import { BARS, Day } from "./day.js";

const INTERVAL = "5m";
const SETTLE_MS = 300; // after the last change of what is in sight
const RETRY_MS = 2000;
const AT_ONCE = 2; // pages asked for at the same time
const SYMBOLS_MAX = 40; // of one stream: an address has its limits, and a screen too

export class WatchFeed {
  // clock: an ExchangeClock. listener: { changed(symbol), state(isLive) }
  constructor(clock, listener) {
    this.clock = clock;
    this.listener = listener;
    this.days = new Map(); // symbol -> Day
    this.wanted = []; // symbols in sight
    this.source = null; // the stream that is open, or opens
    this.carried = new Set(); // the symbols that it has
    this.queue = []; // symbols whose bars are to be asked for
    this.asking = 0;
    this.timer = null;
    document.addEventListener("visibilitychange", () => this.#settle());
  }

  // These symbols are in sight; none: nothing is asked for.
  watch(symbols) {
    this.wanted = symbols.slice(0, SYMBOLS_MAX);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#settle(), this.source ? SETTLE_MS : 0);
  }

  figures(symbol) {
    return this.days.get(symbol)?.figures(this.clock.now()) ?? null;
  }

  #settle() {
    const wanted = document.hidden ? [] : this.wanted; // a browser has few connections for all of its tabs
    if (wanted.length === 0) this.#close();
    else if (!this.source || wanted.length !== this.carried.size || wanted.some((symbol) => !this.carried.has(symbol))) this.#open(wanted);
  }

  // The stream before stays until the new one is there, so that symbols of both miss nothing.
  #open(symbols) {
    const [before, known] = [this.source, this.source ? this.carried : new Set()];
    const query = new URLSearchParams([["interval", INTERVAL], ...symbols.map((symbol) => ["symbol", symbol])]);
    const source = new EventSource(`api/stream?${query}`);
    this.source = source;
    this.carried = new Set(symbols);
    let isFirst = true;
    source.onopen = () => {
      before?.close();
      const stale = isFirst ? symbols.filter((symbol) => !known.has(symbol)) : symbols; // after a break all are
      isFirst = false;
      for (const symbol of stale) this.days.delete(symbol);
      this.queue = [...stale, ...this.queue.filter((symbol) => this.carried.has(symbol) && !stale.includes(symbol))];
      this.listener.state(true);
      this.#ask();
    };
    source.addEventListener("bar", (event) => this.#take(JSON.parse(event.data)));
    source.onerror = () => {
      before?.close();
      if (this.source !== source) return;
      this.listener.state(false);
      if (source.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
      this.source = null;
      setTimeout(() => { if (!this.source) this.#settle(); }, RETRY_MS);
    };
  }

  #close() {
    this.source?.close();
    this.source = null;
    this.queue = [];
  }

  #take(message) {
    this.clock.hear(message.exchange_time);
    const { bar } = message;
    this.#day(bar.symbol).take(bar);
    this.listener.changed(bar.symbol);
  }

  #day(symbol) {
    if (!this.days.has(symbol)) this.days.set(symbol, new Day());
    return this.days.get(symbol);
  }

  #ask() {
    while (this.asking < AT_ONCE && this.queue.length) this.#load(this.queue.shift());
  }

  async #load(symbol) {
    this.asking += 1;
    const { source } = this;
    const page = await this.#page(symbol);
    this.asking -= 1;
    if (this.source !== source && !this.carried.has(symbol)) return this.#ask();
    if (page) {
      this.#day(symbol).merge(page);
      this.listener.changed(symbol);
    } else {
      setTimeout(() => { if (this.carried.has(symbol) && this.source) { this.queue.push(symbol); this.#ask(); } }, RETRY_MS);
    }
    return this.#ask();
  }

  async #page(symbol) {
    try {
      const answer = await fetch(`api/bars?${new URLSearchParams({ symbol, interval: INTERVAL, limit: BARS })}`);
      return answer.ok ? (await answer.json()).bars : null;
    } catch {
      return null;
    }
  }
}
