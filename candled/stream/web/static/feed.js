// Bars of one symbol and interval: live ones by server-sent events, older ones page by page. Keeps the newest
// state of each bar; says what changed. Numbers stay strings.

const SILENCE_MS_MAX = 7000; // the daemon tells its state every 2 s

export class Feed {
  // listener: { reset(), changed(bars), status(status), connection(state, text) }
  constructor(symbol, interval, listener) {
    this.symbol = symbol;
    this.interval = interval;
    this.listener = listener;
    this.bars = new Map(); // open time in ms -> bar
    this.loaded = false;
    this.current = false; // whether the present connection has brought the newest bars
    this.older = false;
    this.loading = null;
    this.stopped = false;
    this.heardAt = 0;
    this.source = null;
    this.heardTimes = new Set(); // open times told by the present connection
    this.watchdog = null;
  }

  start() {
    this.watchdog = setInterval(() => this.#checkSilence(), 500);
    this.#open();
  }

  stop() {
    this.stopped = true;
    clearInterval(this.watchdog);
    this.source?.close();
  }

  sorted() {
    return [...this.bars.values()].sort((a, b) => a.open_time - b.open_time);
  }

  // One page older than the oldest bar there is; resolves once it is in.
  loadOlder() {
    if (!this.older || this.loading || this.bars.size === 0) return this.loading ?? Promise.resolve();
    let oldest = Infinity;
    for (const time of this.bars.keys()) oldest = Math.min(oldest, time);
    this.loading = this.#page(oldest)
      .then((page) => {
        if (this.stopped || !page) return;
        this.older = page.older;
        for (const bar of page.bars) if (!this.bars.has(bar.open_time)) this.bars.set(bar.open_time, bar);
        this.listener.reset();
      })
      .finally(() => { this.loading = null; });
    return this.loading;
  }

  #open() {
    const query = new URLSearchParams({ symbol: this.symbol, interval: this.interval });
    const source = new EventSource(`api/stream?${query}`);
    this.source = source;
    this.listener.connection("connecting", "connecting");
    source.onopen = () => { this.heardTimes.clear(); this.current = false; this.#heard(); this.#reload(source); };
    source.addEventListener("bar", (event) => { this.#heard(); this.#take(JSON.parse(event.data).bar); });
    source.addEventListener("status", (event) => { this.listener.status(JSON.parse(event.data)); this.#heard(); });
    source.addEventListener("end", () => this.#lost("the daemon ended the stream"));
    source.onerror = () => {
      this.#lost("reconnecting…");
      // The browser tries again by itself unless it was refused.
      if (source.readyState === EventSource.CLOSED && !this.stopped && this.source === source) {
        setTimeout(() => { if (!this.stopped && this.source === source) this.#open(); }, 2000);
      }
    };
  }

  // After each (re)connection: the newest page anew, so that nothing that happened in between is missed. The stream
  // is open already, so nothing falls between the two either.
  async #reload(source) {
    let page = null;
    while (!page) {
      page = await this.#page(null);
      if (this.stopped || this.source !== source) return;
      if (!page) await new Promise((resolve) => setTimeout(resolve, 1000));
    }
    const live = [...this.bars.values()].filter((bar) => this.heardTimes.has(bar.open_time));
    this.bars = new Map(page.bars.map((bar) => [bar.open_time, bar]));
    for (const bar of live) if (this.#isNewer(bar, this.bars.get(bar.open_time))) this.bars.set(bar.open_time, bar);
    this.older = page.older;
    this.loaded = true;
    this.current = true;
    this.listener.reset();
    this.#heard();
  }

  async #page(before) {
    const query = new URLSearchParams({ symbol: this.symbol, interval: this.interval, limit: 500 });
    if (before !== null) query.set("end_time", before);
    try {
      const answer = await fetch(`api/bars?${query}`);
      return answer.ok ? await answer.json() : null;
    } catch {
      return null; // the stream's own state says that the daemon is away
    }
  }

  #take(bar) {
    if (bar.symbol !== this.symbol || bar.interval !== this.interval) return;
    this.heardTimes.add(bar.open_time);
    if (!this.#isNewer(bar, this.bars.get(bar.open_time))) return;
    this.bars.set(bar.open_time, bar);
    this.listener.changed(bar);
  }

  #isNewer(bar, known) {
    if (!known) return true;
    if (known.closed !== bar.closed) return bar.closed;
    return bar.closed ? bar.revision >= known.revision : bar.trade_count >= known.trade_count;
  }

  #heard() {
    this.heardAt = performance.now();
    if (this.current) this.listener.connection("live", "live");
    else this.listener.connection("connecting", "loading bars"); // those on the screen may be old
  }

  #lost(text) {
    if (!this.stopped) this.listener.connection("lost", text);
  }

  #checkSilence() {
    const silence = performance.now() - this.heardAt;
    if (this.heardAt && this.source.readyState === EventSource.OPEN && silence > SILENCE_MS_MAX) {
      this.listener.connection("stale", `nothing heard for ${Math.round(silence / 1000)} s`);
    }
  }
}
