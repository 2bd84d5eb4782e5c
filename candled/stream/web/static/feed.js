// Bars of one symbol and interval: live ones by server-sent events, older ones page by page. Keeps the newest
// state of each bar; says what changed. Numbers stay strings.
//
// The bars are one run without a hole of the page's making. It reaches to the newest bar, or, where one has gone to a time far back,
// ends before `until`: what the stream says of later bars then waits in `later`, until pages reach that far.

const SILENCE_MS_MAX = 7000; // the daemon sends its state every 2 s
const PAGE = 500;
const PAGE_MAX = 2000;
const PAGES_MAX = 40; // fetched at once, to go back to a time or to renew what is known
const NEAR = 10_000; // bars that are loaded on the way to a time; where there are more, only those around it
const AFTER = 500; // bars behind a time that is gone to

export class Feed {
  // listener: { reset(), changed(bar), ahead() (`newest` is another, beyond the run), status(status), connection(state, text), time(exchange time in ms),
  // corrected(before, after, exchange time in ms, or null if it fell into a break) }
  // streams: the Streams of the page.
  constructor(streams, symbol, interval, listener) {
    this.streams = streams;
    this.symbol = symbol;
    this.interval = interval;
    this.listener = listener;
    this.bars = new Map(); // open time in ms -> bar
    this.order = null; // the bars as a list, until they change
    this.until = null; // time in ms before which the run ends; null: at the newest bar
    this.later = new Map(); // open time in ms -> bar that the stream sent beyond the run
    this.ahead = null; // the newest bar there is, if it is beyond the run
    this.loaded = false;
    this.current = false; // whether the present connection has brought the newest bars
    this.older = false;
    this.loading = null;
    this.stopped = false;
    this.lastMessageAt = 0;
    this.place = null; // among those who share the event stream
    this.connections = 0;
    this.runs = 0; // how often another run was loaded
    this.sentTimes = new Set(); // open times that the present connection sent
    this.watchdog = null;
  }

  start() {
    this.watchdog = setInterval(() => this.#checkSilence(), 500);
    this.#join();
  }

  stop() {
    this.stopped = true;
    clearInterval(this.watchdog);
    this.place?.leave();
  }

  // Oldest first; not to be changed by the caller.
  sorted() {
    this.order ??= [...this.bars.values()].sort((a, b) => a.open_time - b.open_time);
    return this.order;
  }

  // One page older than the oldest bar there is; resolves once it is in.
  loadOlder(limit = PAGE) {
    if (!this.older || this.loading || this.bars.size === 0) return this.loading ?? Promise.resolve();
    return this.#load(async () => {
      const page = await this.#page(this.#oldest(), limit);
      if (this.stopped || !page) return;
      this.older = page.older;
      for (const bar of page.bars) if (!this.bars.has(bar.open_time)) this.bars.set(bar.open_time, bar);
      this.order = null;
      this.listener.reset();
    });
  }

  // Bars after the last of a run that ends before the newest: those of a page, or of the next time that has any.
  loadNewer() {
    if (this.until === null || this.loading || !this.current) return this.loading ?? Promise.resolve();
    return this.#load(async () => {
      const known = this.bars.size;
      for (let width = PAGE * this.#length; this.until !== null && this.bars.size === known; width *= 4) {
        const end = this.until + width;
        if (!await this.#extend(end > this.ahead.open_time ? null : end)) return;
      }
      this.listener.reset();
    });
  }

  // Have the bars of a time: of one that is near, all between it and those there are, else those around it. Infinity: the newest.
  async reach(time) {
    while (this.loading) await this.loading;
    const first = this.#oldest();
    if (!this.current || !this.bars.size || (time >= first && time < (this.until ?? Infinity)) || (time < first && !this.older)) return;
    if (time > first || (first - time) / this.#length > NEAR) await this.#load(() => this.#loadAround(time));
    await this.loadBackTo(time);
  }

  #load(job) {
    this.loading = job().finally(() => { this.loading = null; });
    return this.loading;
  }

  // Another run in place of this one.
  async #loadAround(time) {
    const newest = this.ahead ?? this.sorted().at(-1);
    const after = time + AFTER * this.#length;
    const end = after > newest.open_time ? null : after;
    const page = await this.#page(end, PAGE_MAX);
    if (!page || this.stopped || !this.current) return;
    if (!page.bars.length) {
      const first = await this.#firstAfter(after);
      if (first !== null) await this.#loadAround(first);
      return;
    }
    this.runs += 1;
    for (const [open, bar] of this.bars) if (this.sentTimes.has(open)) this.later.set(open, bar);
    this.bars = new Map(page.bars.map((bar) => [bar.open_time, bar]));
    this.older = page.older;
    this.#endBefore(end, newest);
    this.listener.reset();
  }

  // Open time of a bar with few or none before it, where there are none before `none`; null: the daemon does not answer.
  async #firstAfter(none) {
    let some = this.#oldest();
    while (some - none > PAGE * this.#length) {
      const middle = Math.floor((none + some) / 2);
      const page = await this.#page(middle, 1);
      if (!page || this.stopped) return null;
      if (page.bars.length) some = page.bars[0].open_time;
      else none = middle;
    }
    return some;
  }

  // The run extends to `end`, or null: to the newest bar. Whether the daemon has said all of it.
  async #extend(end) {
    const run = this.runs;
    const found = [];
    for (let before = end, older = true; older && (before === null || before > this.until);) {
      const page = await this.#page(before, PAGE_MAX);
      if (!page || this.stopped || this.runs !== run || !this.current) return false;
      found.push(...page.bars);
      older = page.older && page.bars.length > 0;
      before = page.bars[0]?.open_time;
    }
    for (const bar of found) if (bar.open_time >= this.until) this.bars.set(bar.open_time, bar);
    this.#endBefore(end, this.ahead);
    return true;
  }

  // What the stream sent of the bars that the run has now joins them.
  #endBefore(end, newest) {
    this.until = end;
    this.ahead = end === null ? null : newest;
    for (const [time, bar] of this.later) {
      if (end !== null && time >= end) continue;
      this.later.delete(time);
      if (time >= this.#oldest() && this.#isNewer(bar, this.bars.get(time))) this.bars.set(time, bar);
    }
    this.order = null;
  }

  get #length() {
    const [first] = this.bars.values();
    return first.close_time - first.open_time;
  }

  #join() {
    this.listener.connection("connecting", "connecting");
    this.place = this.streams.join(this.symbol, this.interval, {
      opened: () => {
        this.connections += 1;
        this.sentTimes.clear();
        this.current = false;
        this.#alive();
        this.#reload(this.connections);
      },
      bar: (message) => { this.#alive(); this.#hear(message); },
      status: (status) => {
        this.listener.time(status.exchange_time);
        this.listener.status(status);
        this.#alive();
      },
      ended: () => this.#lost("the daemon ended the stream"),
      failed: () => this.#lost("reconnecting…"),
    });
  }

  // After each (re)connection: the newest page of the run again, so that nothing that happened in between is missed. The
  // stream is open already, so nothing falls between the two either.
  async #reload(connection) {
    let page = null;
    while (!page) {
      page = await this.#page(this.until);
      if (this.stopped || this.connections !== connection) return;
      if (!page) await new Promise((resolve) => setTimeout(resolve, 1000));
    }
    const known = this.#oldest();
    this.#merge(page, this.until ?? Infinity);
    if (!this.loaded || this.#oldest() >= known) this.older = page.older;
    this.loaded = true;
    this.current = true;
    this.listener.reset();
    this.#alive();
    await this.#renew(connection, page, known);
  }

  // Older bars that were known before a break may have been revised in it, and some may be missing: page by page back
  // to the oldest. Beyond PAGES_MAX they are dropped, to be loaded when they are looked at.
  async #renew(connection, newest, known) {
    let page = newest;
    const run = this.runs;
    for (let count = 0; page.older && page.bars.length && page.bars[0].open_time > known; count++) {
      const before = page.bars[0].open_time;
      const next = count < PAGES_MAX ? await this.#page(before) : null;
      if (this.stopped || this.connections !== connection || this.runs !== run) return;
      if (!next) {
        for (const time of this.bars.keys()) if (time < before) this.bars.delete(time);
        this.order = null;
        this.older = true;
        this.listener.reset();
        return;
      }
      page = next;
      this.#merge(page, before);
      if (page.bars.length && page.bars[0].open_time <= known) this.older = page.older;
      this.listener.reset();
    }
  }

  // A page replaces what was known from its first bar up to ``before``, except the bars that the present connection sent.
  #merge(page, before) {
    const first = page.bars.length ? page.bars[0].open_time : before === Infinity ? 0 : before;
    this.order = null;
    const sent = new Map();
    const known = new Map(this.bars);
    for (const [time, bar] of this.bars) {
      if (time < first || time >= before) continue;
      if (this.sentTimes.has(time)) sent.set(time, bar);
      this.bars.delete(time);
    }
    for (const bar of page.bars) this.bars.set(bar.open_time, bar);
    for (const [time, bar] of sent) if (this.#isNewer(bar, this.bars.get(time))) this.bars.set(time, bar);
    for (const { open_time: time } of page.bars) this.#compare(known.get(time), this.bars.get(time), null);
  }

  #compare(known, bar, time) {
    if (known?.closed && bar.closed && bar.revision > known.revision) this.listener.corrected(known, bar, time);
  }

  #oldest() {
    let oldest = Infinity;
    for (const time of this.bars.keys()) oldest = Math.min(oldest, time);
    return oldest;
  }

  // Load pages until the bars reach back to a time, or there are no older ones.
  async loadBackTo(time) {
    for (let count = 0; count < PAGES_MAX && this.older && this.#oldest() > time && !this.stopped; count++) {
      const before = this.#oldest();
      await this.loadOlder(PAGE_MAX);
      if (this.#oldest() === before) return; // the daemon does not answer
    }
  }

  async #page(before, limit = PAGE) {
    const query = new URLSearchParams({ symbol: this.symbol, interval: this.interval, limit });
    if (before !== null) query.set("end_time", before);
    try {
      const answer = await fetch(`api/bars?${query}`);
      return answer.ok ? await answer.json() : null;
    } catch {
      return null; // the stream's own state says that the daemon is away
    }
  }

  #hear(message) {
    this.listener.time(message.exchange_time);
    this.#take(message.bar, message.exchange_time);
  }

  #take(bar, time) {
    if (bar.symbol !== this.symbol || bar.interval !== this.interval) return;
    this.sentTimes.add(bar.open_time);
    if (this.until !== null && bar.open_time >= this.until) return this.#takeLater(bar, time);
    const known = this.bars.get(bar.open_time);
    if (!this.#isNewer(bar, known)) return;
    this.bars.set(bar.open_time, bar);
    this.order = null;
    this.#compare(known, bar, time);
    this.listener.changed(bar);
  }

  #takeLater(bar, time) {
    const known = this.later.get(bar.open_time);
    if (!this.#isNewer(bar, known)) return;
    this.later.set(bar.open_time, bar);
    this.#compare(known, bar, time);
    if (bar.open_time < this.ahead.open_time) return;
    this.ahead = bar;
    this.listener.ahead();
  }

  #isNewer(bar, known) {
    if (!known) return true;
    if (known.closed !== bar.closed) return bar.closed;
    return bar.closed ? bar.revision >= known.revision : bar.trade_count >= known.trade_count;
  }

  #alive() {
    this.lastMessageAt = performance.now();
    if (this.current) this.listener.connection("live", "live");
    else this.listener.connection("connecting", "loading bars"); // those on the screen may be old
  }

  #lost(text) {
    if (!this.stopped) this.listener.connection("lost", text);
  }

  #checkSilence() {
    const silence = performance.now() - this.lastMessageAt;
    if (this.lastMessageAt && this.place.isOpen() && silence > SILENCE_MS_MAX) {
      this.listener.connection("stale", `no message for ${Math.round(silence / 1000)} s`);
    }
  }
}
