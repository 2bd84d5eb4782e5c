// A symbol's last 24 hours from its 5-minute bars: exact, and moving with the forming one. No chart, no floats.

import { text, units } from "./numbers.js";

export const BAR_MS = 300_000;
export const BARS = 288;

export class Day {
  constructor() {
    this.bars = new Map(); // open time in ms -> bar
    this.isWhole = false; // whether all bars of the window that exist are here
  }

  // A page of the newest closed bars; what the stream sent meanwhile stays if it is newer.
  merge(page) {
    for (const bar of page) this.take(bar);
    this.isWhole = true;
  }

  take(bar) {
    const known = this.bars.get(bar.open_time);
    if (known && (known.closed && !bar.closed || known.closed === bar.closed && bar.revision < known.revision)) return;
    if (known && !bar.closed && bar.trade_count < known.trade_count) return;
    this.bars.set(bar.open_time, bar);
  }

  // The 288 bars of 5 minutes up to the present one, by exchange time `now` in ms -> null without any, else
  // { last, first, high, low, volume, length, isShort, complete }: `first` is the open that the change is counted from, `length`
  // in ms how long ago the first bar began, `isShort` whether that is less than the window, `complete` whether every
  // closed bar is proven.
  figures(now) {
    const newest = Math.max(...this.bars.keys(), now === null ? 0 : now - now % BAR_MS);
    const start = newest - (BARS - 1) * BAR_MS;
    for (const time of this.bars.keys()) if (time < start) this.bars.delete(time);
    const all = [...this.bars.values()].sort((a, b) => a.open_time - b.open_time);
    const traded = all.filter((bar) => bar.trade_count > 0);
    const bars = traded.length ? traded : all; // a bar without trades repeats a price
    if (!bars.length) return null;
    const best = (name, isBetter) => bars.reduce((kept, bar) => isBetter(units(bar[name]), units(kept)) ? bar[name] : kept, bars[0][name]);
    return {
      last: bars.at(-1).close,
      first: bars[0].open,
      high: best("high", (a, b) => a > b),
      low: best("low", (a, b) => a < b),
      volume: text(bars.reduce((sum, bar) => sum + units(bar.volume), 0n)),
      length: (now ?? newest + BAR_MS) - all[0].open_time,
      isShort: all[0].open_time > start,
      complete: all.every((bar) => bar.complete || !bar.closed),
    };
  }
}
