// One chart of the page: a symbol and an interval, its feed, its drawing, its legend, and the bar that one reads.

import { countdown } from "./clock.js";
import { judged } from "./connection.js";
import { sentenceOf, tableOf } from "./correction-table.js";
import { Feed } from "./feed.js";
import { drawLegend, sentence } from "./legend.js";
import { indexAt, rangeOf, timeAt } from "./link.js";
import { decimalsOf } from "./numbers.js";
import { Plot } from "./plot.js";
import { showClock, showDate, zoneName } from "./view.js";

const DAY_MS = 86_400_000;
const MARGIN = 60; // bars out of sight beyond either edge, at fewer of which more are loaded
const CLEAR = 6; // pixels between the legend and the highest candle
const TICK_MS = 250;
const SCALE_NAMES = { linear: "Lin", log: "Log", percent: "%" };
const UTC = { zone: "utc" };

const decimalsOfBar = (bar) => [decimalsOf(bar.open), decimalsOf(bar.close)];

export class Pane {
  // part(name) -> its element. shared: { streams, clock, corrections } of all panes. listener: { connection(), price(), status(status), scale(), corrected() }:
  // what the page shows and does outside of the pane; { looked(), pointed(time in ms or null), drawn() }: what linked panes follow.
  constructor(part, view, { streams, clock, corrections }, listener) {
    this.streams = streams;
    this.part = part;
    this.view = view;
    this.clock = clock;
    this.corrections = corrections;
    this.listener = listener;
    this.symbol = "";
    this.interval = "1m";
    this.feed = null;
    this.status = null; // the daemon's newest
    this.decimals = 2;
    this.hovered = null; // open time in ms of the bar under the crosshair
    this.pointed = null; // the same where the keyboard put it
    this.newestTime = null;
    this.connection = { state: "connecting", text: "connecting" };
    this.unreachable = ""; // why the time asked for is not shown
    this.sessionAsked = false;
    this.wanted = null; // the span that a linked pane shows
    this.reaching = false; // whether bars of it are being loaded
    this.plot = new Plot(part("chart"));
    this.#listen();
    this.timer = setInterval(() => this.#tick(), TICK_MS);
    this.legendHeight = 0; // of the tallest since the chart has this size: candles do not move with each bar one reads
    this.sizes = new ResizeObserver((entries) => this.#resized(entries.some(({ target }) => target === part("chart"))));
    for (const name of ["chart", "legend"]) this.sizes.observe(part(name));
  }

  // For good.
  remove() {
    clearInterval(this.timer);
    this.sizes.disconnect();
    this.feed?.stop();
    this.feed = null;
    this.plot.remove();
  }

  follow(symbol, interval, view) {
    this.feed?.stop();
    Object.assign(this, { symbol, interval, hovered: null, pointed: null, newestTime: null, status: null, unreachable: "", sessionAsked: false, legendHeight: 0, wanted: null });
    this.part("chart").setAttribute("aria-label", `Candles and volume of ${symbol} ${interval}`);
    this.plot.startAnew();
    this.#applyView(view);
    this.feed = new Feed(this.streams, symbol, interval, {
      reset: () => this.#reset(),
      changed: (bar) => this.#changed(bar),
      ahead: () => { this.#newestChanged(); if (this.hovered === null) this.drawLegend(); },
      status: (status) => { this.status = status; this.listener.status(status); },
      connection: (state, text) => this.#connected(state, text),
      time: (ms) => this.clock.hear(ms),
      corrected: (before, after, at) => { this.corrections.add(before, after, at); this.listener.corrected(); },
    });
    this.draw();
    this.feed.start();
  }

  changeView(view) {
    this.#applyView(view);
    this.draw();
    this.loadSession();
  }

  #applyView(view) {
    this.view = view;
    this.plot.overlays.choose(view.indicators);
    this.plot.showScale(view.scale);
    this.part("scale").textContent = SCALE_NAMES[view.scale];
    this.part("scale").setAttribute("aria-label", `${SCALE_NAMES[view.scale]}: price scale ${view.scale}; change`);
    this.plot.showTimes({ label: (ms) => this.shownTime(ms), mark: (ms, kind) => this.#axisTime(ms, kind), withClock: !this.#ofDays });
  }

  // Draw everything again: other bars, another view, other colours.
  draw() {
    const bars = this.feed.sorted();
    this.decimals = Math.max(0, ...bars.slice(-200).flatMap(decimalsOfBar));
    this.plot.draw(bars, this.decimals, this.feed.loaded, this.#corrected, this.feed.until === null);
    this.newestTime = bars.length ? bars[bars.length - 1].open_time : null;
    this.drawPrice();
    this.#drawEmpty();
    this.#drawReturn();
    this.drawLegend();
    this.listener.drawn();
  }

  recolor() {
    this.plot.recolor();
    if (this.feed) this.draw();
  }

  drawPrice() {
    this.plot.drawPrice(this.newest, this.connection.state === "live");
    this.listener.price();
  }

  drawLegend() {
    const bar = this.#shownBar;
    drawLegend(this.part, {
      symbol: this.symbol,
      interval: this.interval,
      bar,
      time: bar ? this.shownTime(bar.open_time) : "",
      decimals: this.decimals,
      base: this.#base,
      tables: bar ? this.corrections.of(bar).map((correction) => tableOf(correction, (ms) => this.shownSecond(ms))) : [],
      values: bar ? this.plot.overlays.at(bar.open_time) : [],
    });
  }

  shownSecond(ms) { return `${showDate(ms, this.view)} ${showClock(ms, this.view, "second")} ${zoneName(this.view)}`; }

  get newest() { return this.feed?.ahead ?? this.feed?.bars.get(this.newestTime); }

  // Times are shown in the zone of the view; bars of a day and longer are dates of UTC, where they begin.
  shownTime(ms) {
    return this.#ofDays ? showDate(ms, UTC) : `${showDate(ms, this.view)} ${showClock(ms, this.view)}`;
  }

  // The bars that are seen, oldest first.
  get seen() {
    const { sight } = this.plot;
    return sight ? this.feed.sorted().slice(sight.first, sight.last + 1) : [];
  }

  get drawing() { return { canvas: this.plot.picture(), element: this.part("chart"), legend: this.part("legend") }; }

  async showNewest() {
    this.unreachable = "";
    this.unpoint();
    await this.feed.reach(Infinity);
    this.plot.showNewest();
  }

  // Load the bars of a time and show its bar in the middle; sets `unreachable` where there is none.
  async goTo(ms) {
    const { feed } = this;
    await feed.reach(ms);
    if (feed !== this.feed) return;
    const bars = feed.sorted();
    const place = indexAt(bars, ms);
    this.unreachable = place >= 0 ? "" : feed.older || !bars.length
      ? `The bars of ${this.shownTime(ms)} cannot be loaded now.`
      : `The first bar is of ${this.shownTime(bars[0].open_time)}.`;
    const index = Math.max(place, 0);
    this.plot.center(index);
    requestAnimationFrame(() => { if (bars[index]) this.#point(bars, index); });
  }

  // A session's average needs the session from its beginning.
  async loadSession() {
    if (!("vwap" in this.view.indicators) || !this.feed?.loaded) return;
    const newest = this.newest?.open_time ?? 0;
    await this.feed.loadBackTo(newest - newest % DAY_MS);
  }

  unpoint() {
    this.showTime(null);
    this.listener.pointed(null);
  }

  // The time in sight, in ms; null without bars.
  get span() {
    const bars = this.feed?.sorted() ?? [];
    const { range } = this.plot;
    return range && bars.length && this.plot.fitted ? { from: timeAt(bars, range.from), to: timeAt(bars, range.to) } : null;
  }

  showSpan(span) {
    const { feed } = this;
    const bars = feed.sorted();
    this.wanted = span;
    if (bars.length) this.plot.showRange(rangeOf(bars, span, this.plot.countMax));
    if (this.reaching) return;
    this.reaching = true;
    feed.reach(span.to).finally(() => {
      this.reaching = false;
      if (feed === this.feed && this.wanted && this.wanted !== span) this.showSpan(this.wanted); // the leader went on
    });
  }

  // The crosshair on the bar of a time; null: nowhere.
  showTime(time) {
    const bars = this.feed?.sorted() ?? [];
    const bar = time === null ? undefined : bars[indexAt(bars, time)];
    const isIn = bar !== undefined && time < bar.close_time;
    this.pointed = this.hovered = isIn ? bar.open_time : null;
    if (isIn) this.plot.setCrosshair(bar);
    else this.plot.clearCrosshair();
    this.drawLegend();
  }

  get #corrected() { return this.corrections.times(this.symbol, this.interval); }

  // The bar that percents count from, on that scale.
  get #base() {
    const { firstVisible } = this.plot;
    return this.view.scale === "percent" && firstVisible !== null ? this.feed?.bars.get(this.plot.timeAt(firstVisible)) : undefined;
  }

  get #shownBar() { return this.feed?.bars.get(this.hovered) ?? this.newest; }

  get #ofDays() { return /[dwM]$/.test(this.interval); }

  #axisTime(ms, kind) {
    // The chart divides days at 0:00 UTC: elsewhere a day begins at another mark, so the clock says more.
    if (!this.#ofDays && (kind === "clock" || showClock(ms, this.view) !== "00:00")) return showClock(ms, this.view);
    const [year, month, day] = showDate(ms, this.#ofDays ? UTC : this.view).split("-");
    if (kind === "year") return year;
    const name = new Intl.DateTimeFormat("en", { month: "short", timeZone: "UTC" }).format(Date.UTC(year, month - 1, 1));
    return kind === "month" ? name : String(Number(day));
  }

  #reset() {
    this.draw();
    if (this.sessionAsked || !this.feed.loaded) return;
    this.sessionAsked = true;
    this.loadSession();
  }

  #changed(bar) {
    if (Math.max(...decimalsOfBar(bar)) > this.decimals) { this.draw(); return; } // as of the first bar there is
    if (this.newestTime !== null && bar.open_time < this.newestTime) {
      if (this.feed.bars.size !== this.plot.count) { this.draw(); return; } // a bar that was not there before
      this.plot.drawOlder(bar, this.feed.sorted());
    } else {
      this.plot.drawNewest(bar);
      this.newestTime = bar.open_time;
      this.#newestChanged();
      this.#drawEmpty();
    }
    if (bar.closed) this.plot.drawMarks(this.feed.sorted(), this.#corrected);
    if (this.hovered === null || this.hovered === bar.open_time) this.drawLegend();
  }

  #newestChanged() {
    this.drawPrice();
    this.#tick();
  }

  #connected(state, text) {
    const before = this.connection.state;
    this.connection = judged(state, text, this.status?.symbols[this.symbol]);
    this.part("pane").dataset.state = this.connection.state;
    if (this.connection.state !== before) { this.drawPrice(); this.#tick(); }
    this.listener.connection();
  }

  // The candles keep clear of the legend, but not of the corrections of a bar that one reads.
  #resized(isChart) {
    if (isChart) this.legendHeight = 0;
    const [legend, tables] = [this.part("legend"), this.part("legend-corrections")];
    const bottom = legend.offsetTop + (tables.hidden ? legend.offsetHeight : tables.offsetTop);
    if (bottom <= this.legendHeight) return;
    this.legendHeight = bottom;
    requestAnimationFrame(() => { if (this.feed) this.plot.keepClear(bottom + CLEAR); }); // the chart has its size by then
  }

  // How long the forming bar still takes; silent where that is not known to be so.
  #tick() {
    const bar = this.connection.state === "live" ? this.newest : null;
    const left = bar && !bar.closed && this.clock.now() !== null ? bar.close_time - this.clock.now() : null;
    const text = left === null ? "" : left > 0 ? countdown(left) : "closing";
    const isShown = this.#shownBar === bar; // the price on the axis has it in any case
    this.part("legend-countdown").textContent = !isShown ? "" : left === null || left <= 0 ? text : `closes in ${text}`;
    this.plot.titlePrice(text);
  }

  #drawEmpty() {
    this.part("empty").hidden = this.feed.bars.size > 0;
    this.part("empty").textContent = this.feed.loaded
      ? `No ${this.interval} bar of ${this.symbol} yet: the next trade begins one.`
      : "Loading…";
  }

  // The way back to the newest bar, where it is not in sight.
  #drawReturn() {
    const { range, count } = this.plot;
    this.part("newest").hidden = this.feed.until === null && (!range || range.to >= count - 1);
  }

  #listen() {
    this.plot.chart.subscribeCrosshairMove((event) => {
      if (event.sourceEvent) this.pointed = null; // the mouse takes over
      this.hovered = this.pointed ?? (event.time === undefined ? null : event.time * 1000);
      if (event.sourceEvent) this.listener.pointed(this.hovered);
      this.drawLegend();
    });
    this.plot.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      if (!range || !this.feed) return;
      if (range.from < MARGIN) this.feed.loadOlder();
      if (range.to > this.plot.count - MARGIN) this.feed.loadNewer();
      this.listener.looked();
      if (this.view.scale === "percent") this.drawLegend();
      this.#drawReturn();
    });
    this.part("scale").addEventListener("click", () => this.listener.scale());
    this.part("newest").addEventListener("click", () => this.showNewest());
    this.part("chart").addEventListener("keydown", (event) => this.#pressed(event));
    this.part("chart").addEventListener("blur", () => this.unpoint());
    this.part("chart").addEventListener("mouseleave", () => { if (this.pointed === null) this.listener.pointed(null); });
  }

  // The keyboard does what the mouse does: the crosshair goes from bar to bar and is read out.
  #pressed(event) {
    const bars = this.feed?.sorted() ?? [];
    if (!bars.length || event.ctrlKey || event.metaKey || event.altKey) return;
    const here = bars.findIndex((bar) => bar.open_time === this.hovered);
    const last = bars.length - 1;
    const places = {
      ArrowLeft: here < 0 ? last : Math.max(0, here - 1),
      ArrowRight: here < 0 ? last : Math.min(last, here + 1),
      Home: 0,
      End: last,
    };
    if (event.key === "End" && this.feed.until !== null) this.#pointNewest();
    else if (event.key in places) this.#point(bars, places[event.key]);
    else if (event.key === "Escape") this.unpoint();
    else if (event.key === "+" || event.key === "=") this.plot.zoom(1.25);
    else if (event.key === "-") this.plot.zoom(1 / 1.25);
    else return;
    event.preventDefault();
  }

  async #pointNewest() {
    const { feed } = this;
    await feed.reach(Infinity);
    const bars = feed.sorted();
    if (feed === this.feed) this.#point(bars, bars.length - 1);
  }

  #point(bars, index) {
    const bar = bars[index];
    this.hovered = this.pointed = bar.open_time;
    this.listener.pointed(bar.open_time);
    this.plot.reveal(index, () => { if (this.pointed === bar.open_time) this.plot.setCrosshair(bar); });
    this.drawLegend();
    const corrections = this.corrections.of(bar).map((correction) => sentenceOf(correction, (ms) => this.shownSecond(ms)));
    const head = `${this.part("legend-time").textContent} ${this.part("legend-marks").textContent}`;
    this.part("reading").textContent = [sentence(bar, head), ...corrections].join(". ");
  }
}
