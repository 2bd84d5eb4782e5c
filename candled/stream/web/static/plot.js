// One drawing: candles, volume, indicators and marks of a list of bars, and the place where one looks.
// The chart library is used here and nowhere else; numbers become floats here, only to be drawn.

import { Line } from "./line.js";
import { percent, short, show } from "./numbers.js";
import { Overlays } from "./overlays.js";
import { color, palette } from "./theme.js";

const { createChart, createSeriesMarkers, CandlestickSeries, HistogramSeries, LineSeries, CrosshairMode, LineStyle, PriceScaleMode, TickMarkType } = window.LightweightCharts;
const OFFSET = 7; // bars of room at the right of the newest one
const SPACING_MIN = 7; // pixels from bar to bar at first sight
const SPACING_MAX = 20;

const BOTTOM = 0.06; // part of the height beneath the lowest candle, at least
const TOP_MIN = 0.1;
const TOP_MAX = 0.5;
const MARK = 18; // pixels of a mark above or beneath a candle
const VOLUME = 1; // number of the pane beneath the prices

const seconds = (bar) => bar.open_time / 1000;
export const rising = (bar) => Number(bar.close) >= Number(bar.open);
export const doubtful = (bar) => bar.closed && !bar.complete;

export class Plot {
  constructor(element) {
    this.chart = createChart(element, {
      autoSize: true,
      layout: { attributionLogo: false, panes: { enableResize: false }, background: { color: "transparent" }, fontSize: 12 },
      localization: { percentageFormatter: percent },
      crosshair: { mode: CrosshairMode.Normal },
      timeScale: { timeVisible: true, secondsVisible: false, rightOffset: OFFSET, minBarSpacing: 0.5 },
      rightPriceScale: { scaleMargins: { top: 0.18, bottom: BOTTOM }, entireTextOnly: true },
      handleScale: { axisPressedMouseMove: { price: true, time: true } },
    });
    // The library's own label shows the last visible bar; ours shows the newest one, wherever the chart is scrolled.
    this.candles = this.chart.addSeries(CandlestickSeries, { priceLineVisible: false, lastValueVisible: false });
    this.volume = this.chart.addSeries(HistogramSeries, {
      priceFormat: { type: "custom", formatter: short, minMove: 1e-8 }, lastValueVisible: false, priceLineVisible: false,
    }, VOLUME);
    this.volume.priceScale().applyOptions({ scaleMargins: { top: 0.12, bottom: 0 }, entireTextOnly: true });
    const [prices, volumes] = this.chart.panes();
    prices.setStretchFactor(5);
    volumes.setStretchFactor(1);
    // Room for marks is that of `keepClear`: the library's own grows with the bars, up to all that a low chart has.
    this.markers = createSeriesMarkers(this.candles, [], { autoScale: false });
    this.overlays = new Overlays({
      add: (scale, tint) => scale === "volume" ? this.#volumeLine(tint) : new Line(this.chart, this.candles, tint),
      remove: (line) => line instanceof Line ? line.remove() : this.chart.removeSeries(line),
      color: (name) => color(`line-${name}`),
    });
    this.priceLine = null;
    this.hasNewest = true;
    this.fitted = false; // whether the first sight of these bars was arranged
    this.placing = null; // the place that the chart takes with its next frame; until then it does not know it
    this.recolor();
  }

  recolor() {
    const colors = this.colors = palette();
    this.chart.applyOptions({
      layout: { textColor: colors.quiet, background: { color: colors.page }, panes: { separatorColor: colors.line } },
      grid: { vertLines: { color: `${colors.line}99` }, horzLines: { color: `${colors.line}99` } },
      crosshair: {
        vertLine: { color: colors.quiet, labelBackgroundColor: colors.label },
        horzLine: { color: colors.quiet, labelBackgroundColor: colors.label },
      },
      timeScale: { borderColor: colors.line },
    });
    for (const series of [this.candles, this.volume]) series.priceScale().applyOptions({ borderColor: colors.line });
    this.overlays.recolor();
    this.candles.applyOptions({
      baseLineColor: colors.quiet,
      upColor: colors.up, borderUpColor: colors.up, wickUpColor: colors.up,
      downColor: colors.down, borderDownColor: colors.down, wickDownColor: colors.down,
    });
  }

  // label(ms) -> text beneath the crosshair; mark(ms, kind) -> text on the axis, kind: "clock", "day", "month", "year"
  showTimes({ label, mark, withClock }) {
    const kinds = { [TickMarkType.Year]: "year", [TickMarkType.Month]: "month", [TickMarkType.DayOfMonth]: "day" };
    this.chart.applyOptions({
      localization: { timeFormatter: (time) => label(time * 1000) },
      timeScale: { timeVisible: withClock, tickMarkFormatter: (time, kind) => mark(time * 1000, kinds[kind] ?? "clock") },
    });
  }

  // Reserve this number of pixels at the top for the legend, within limits, and room for marks above and beneath.
  keepClear(pixels) {
    const height = Math.max(1, this.chart.panes()[0].getHeight());
    const top = Math.min(TOP_MAX, Math.max(TOP_MIN, (pixels + MARK) / height));
    const bottom = Math.min(TOP_MIN, Math.max(BOTTOM, MARK / height));
    this.chart.priceScale("right").applyOptions({ scaleMargins: { top, bottom } });
  }

  // "linear", "log" or "percent"
  showScale(name) {
    const modes = { linear: PriceScaleMode.Normal, log: PriceScaleMode.Logarithmic, percent: PriceScaleMode.Percentage };
    this.chart.priceScale("right").applyOptions({ mode: modes[name] });
  }

  // Place in the list of the first bar that is seen, if only in part: percents count from its close.
  get firstVisible() { return this.range && this.count ? Math.min(this.count - 1, Math.max(0, Math.floor(this.range.from))) : null; }

  // All bars, oldest first. corrected: open times in ms of those that were revised in sight of the reader; hasNewest: whether
  // the last bar is the newest there is, which one who looks at it follows.
  draw(bars, decimals, isLoaded, corrected, hasNewest) {
    const place = this.fitted ? this.#place() : null;
    this.hasNewest = hasNewest;
    const formatter = (price) => show(price.toFixed(decimals), decimals);
    this.candles.applyOptions({ priceFormat: { type: "custom", minMove: 10 ** -decimals, formatter } });
    this.candles.setData(bars.map((bar) => this.#candle(bar)));
    this.volume.setData(bars.map((bar) => this.#column(bar)));
    this.overlays.drawAll(bars);
    this.drawMarks(bars, corrected);
    if (isLoaded && !this.fitted) this.#fit(bars.length);
    else if (place) this.#restore(place, bars);
  }

  // The newest bar again, or the one after it.
  drawNewest(bar) {
    this.candles.update(this.#candle(bar));
    this.volume.update(this.#column(bar));
    this.overlays.drawNewest(bar);
  }

  // An older bar that was drawn before; every later value of an indicator may change with it.
  drawOlder(bar, bars) {
    this.candles.update(this.#candle(bar), true);
    this.volume.update(this.#column(bar), true);
    this.overlays.drawAll(bars);
  }

  drawMarks(bars, corrected) {
    this.markers.setMarkers(bars.map((bar) => this.#mark(bar, corrected.has(bar.open_time))).filter((mark) => mark !== null));
  }

  // The line of the newest price; none without a bar.
  drawPrice(bar, isLive) {
    if (!bar) {
      if (this.priceLine) this.candles.removePriceLine(this.priceLine);
      this.priceLine = null;
      return;
    }
    const tint = !isLive ? this.colors.quiet : rising(bar) ? this.colors.up : this.colors.down;
    const options = { price: Number(bar.close), color: tint, axisLabelColor: tint, axisLabelTextColor: this.colors.page, lineWidth: 1, lineStyle: LineStyle.Dotted };
    if (this.priceLine) this.priceLine.applyOptions(options);
    else this.priceLine = this.candles.createPriceLine(options);
  }

  // Text beside the price on the axis.
  titlePrice(title) {
    if (this.priceLine && this.priceLine.options().title !== title) this.priceLine.applyOptions({ title });
  }

  get count() { return this.candles.data().length; }

  // Places in the list of the first and the last bar that are seen, if only in part; null without any.
  get sight() {
    const { range, count } = this;
    if (!range || !count) return null;
    const [first, last] = [Math.max(0, Math.ceil(range.from - 0.5)), Math.min(count - 1, Math.floor(range.to + 0.5))];
    return first <= last ? { first, last } : null;
  }

  // What is drawn, without the crosshair.
  picture() { return this.chart.takeScreenshot(true, false); }

  // Open time in ms of a place in the list.
  timeAt(index) { return this.candles.data()[index].time * 1000; }

  get range() { return this.chart.timeScale().getVisibleLogicalRange(); }

  // As many bars as it can show at once.
  get countMax() {
    const scale = this.chart.timeScale();
    return scale.width() / scale.options().minBarSpacing;
  }

  showRange({ from, to }) {
    this.placing = null;
    this.chart.timeScale().setVisibleLogicalRange({ from, to });
  }

  remove() { this.chart.remove(); }

  startAnew() { this.fitted = false; }

  showNewest() {
    this.placing = null;
    this.chart.timeScale().scrollToPosition(OFFSET, false);
  }

  center(index) {
    this.placing = null;
    const half = this.range ? (this.range.to - this.range.from) / 2 : 40;
    this.chart.timeScale().setVisibleLogicalRange({ from: index - half, to: index + half });
  }

  zoom(factor) {
    const scale = this.chart.timeScale();
    scale.applyOptions({ barSpacing: Math.min(60, Math.max(1, scale.options().barSpacing * factor)) });
  }

  // Bring a bar into sight, then call `then`: the crosshair is a place on the screen.
  reveal(index, then) {
    const { from, to } = this.range;
    const shift = index < from ? index - from - 2 : index > to ? index - to + 2 : 0;
    if (shift) this.chart.timeScale().setVisibleLogicalRange({ from: from + shift, to: to + shift });
    requestAnimationFrame(then);
  }

  setCrosshair(bar) { this.chart.setCrosshairPosition(Number(bar.close), seconds(bar), this.candles); }

  clearCrosshair() { this.chart.clearCrosshairPosition(); }

  #volumeLine(tint) {
    return this.chart.addSeries(LineSeries, {
      color: tint, lineWidth: 1, priceLineVisible: false, lastValueVisible: false, crosshairMarkerVisible: false,
      autoscaleInfoProvider: () => null, // the columns alone make the scale: a line far away would flatten them
    }, VOLUME);
  }

  #candle(bar) {
    const point = { time: seconds(bar), open: Number(bar.open), high: Number(bar.high), low: Number(bar.low), close: Number(bar.close) };
    if (doubtful(bar)) Object.assign(point, { borderColor: this.colors.doubt, wickColor: this.colors.doubt });
    return point;
  }

  #column(bar) {
    return { time: seconds(bar), value: Number(bar.volume), color: this.colors[rising(bar) ? "up-column" : "down-column"] };
  }

  #mark(bar, isCorrected) {
    const mark = { time: seconds(bar), shape: "circle", size: 0 };
    if (doubtful(bar)) return { ...mark, position: "belowBar", color: this.colors.doubt, text: "?" };
    if (bar.closed && bar.revision > 0) return { ...mark, position: "aboveBar", color: this.colors.revised, text: isCorrected ? "◆" : "•" };
    return null;
  }

  // Where one looks: at the newest bar, or at the bar of a time that stands so far from the left edge.
  #place() {
    if (this.placing) return this.placing;
    const { range, count } = this;
    if (!range || !count) return null;
    if (range.to >= count - 1 && this.hasNewest) return { distance: range.to - (count - 1), width: range.to - range.from };
    const index = Math.min(count - 1, Math.max(0, Math.ceil(range.from)));
    return { time: this.candles.data()[index].time, offset: range.from - index, width: range.to - range.from };
  }

  #restore(place, bars) {
    if (!bars.length) return;
    let from;
    if (place.time === undefined) {
      from = bars.length - 1 + place.distance - place.width;
    } else {
      const index = bars.findIndex((bar) => seconds(bar) >= place.time);
      from = (index < 0 ? bars.length - 1 : index) + place.offset;
    }
    this.chart.timeScale().setVisibleLogicalRange({ from, to: from + place.width });
    this.placing = place;
    requestAnimationFrame(() => requestAnimationFrame(() => { if (this.placing === place) this.placing = null; }));
  }

  // A long history at a width that is easy on the eye, a short one wider, the newest bar at the right.
  #fit(count) {
    const width = this.chart.timeScale().width();
    const barSpacing = Math.min(SPACING_MAX, Math.max(SPACING_MIN, width / (count + 8)));
    this.chart.timeScale().applyOptions({ barSpacing });
    this.chart.timeScale().scrollToPosition(OFFSET, false);
    this.fitted = count > 0;
  }
}
