// Indicators: plain functions of bars, without a chart and without floats. Numbers are BigInt in units of 10^-8.
//
// An indicator is { initial, step(state, bar) -> [state, value] }: a fold over the bars, oldest first. A state is never
// changed, so the forming bar can be taken again and again from the state before it. A value is null while there are
// too few bars for one. A further indicator is one more function here and one line in KINDS.

import { divide, units } from "./numbers.js";

const UNIT = 100_000_000n;
const DAY_MS = 86_400_000;
const GUARD = 100_000_000n; // eight more digits, so that an average of averages does not drift

// Mean of a field over the newest `period` bars.
function mean(field, period) {
  return {
    initial: { window: [], sum: 0n },
    step({ window, sum }, bar) {
      const value = units(bar[field]);
      const kept = window.length < period ? window : window.slice(1);
      const next = { window: [...kept, value], sum: sum + value - (window.length < period ? 0n : window[0]) };
      return [next, next.window.length < period ? null : divide(next.sum, BigInt(period))];
    },
  };
}

export const sma = (period) => mean("close", period);
export const volumeAverage = (period) => mean("volume", period);

// Exponential moving average of closes, weight 2 / (period + 1), which begins as the mean of the first `period` bars.
export function ema(period) {
  const first = sma(period);
  return {
    initial: { begin: first.initial, average: null },
    step({ begin, average }, bar) {
      if (average === null) {
        const [state, value] = first.step(begin, bar);
        return [{ begin: state, average: value === null ? null : divide(state.sum * GUARD, BigInt(period)) }, value];
      }
      const next = average + divide(2n * (units(bar.close) * GUARD - average), BigInt(period + 1));
      return [{ begin, average: next }, divide(next, GUARD)];
    },
  };
}

// Average price weighted by volume since the session began, at 0:00 UTC. A session whose beginning is not among the bars
// has no value: it would be that of another session.
export function vwap() {
  const session = (bar) => Math.floor(bar.open_time / DAY_MS);
  return {
    initial: { session: null, quote: 0n, volume: 0n },
    step(state, bar) {
      const isNew = state.session !== session(bar);
      if (isNew && state.session === null && bar.open_time % DAY_MS !== 0) return [state, null];
      const quote = (isNew ? 0n : state.quote) + units(bar.quote_volume);
      const volume = (isNew ? 0n : state.volume) + units(bar.volume);
      return [{ session: session(bar), quote, volume }, volume ? divide(quote * UNIT, volume) : null];
    },
  };
}

// name -> what the page shows of it. `period`: the usual one; null where there is none.
export const KINDS = {
  sma: { title: "SMA", about: "Simple moving average of closes", period: 20, make: sma, scale: "price" },
  ema: { title: "EMA", about: "Exponential moving average of closes", period: 50, make: ema, scale: "price" },
  vwap: { title: "VWAP", about: "Average price weighted by volume, since 0:00 UTC", period: null, make: vwap, scale: "price" },
  volume: { title: "Vol avg", about: "Simple moving average of volume", period: 20, make: volumeAverage, scale: "volume" },
};
export const PERIOD_MAX = 500;

// The values of an indicator over bars, kept up to date as the newest bar changes and the next one begins.
export class Run {
  constructor(indicator) {
    this.indicator = indicator;
    this.clear();
  }

  clear() {
    this.before = this.after = this.indicator.initial; // the states before and after the newest bar
    this.time = null; // open time of the newest bar
  }

  // All bars, oldest first -> their values.
  all(bars) {
    this.clear();
    return bars.map((bar) => this.next(bar));
  }

  // The newest bar again, or the one after it -> its value.
  next(bar) {
    if (bar.open_time !== this.time) this.before = this.after;
    const [state, value] = this.indicator.step(this.before, bar);
    this.after = state;
    this.time = bar.open_time;
    return value;
  }
}
