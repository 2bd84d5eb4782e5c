// Draws the chosen indicators over the candles and says their values in the legend.

import { KINDS, Run } from "./indicators.js";
import { text } from "./numbers.js";

export class Overlays {
  // add(scale, color) -> a line series of the chart; remove(series)
  constructor({ add, remove, color }) {
    this.add = add;
    this.remove = remove;
    this.color = color;
    this.lines = []; // { name, period, run, series, values: Map of open time -> BigInt }
  }

  // choice: { sma: 20, vwap: null, ... }: the period of each indicator shown.
  choose(choice) {
    for (const line of this.lines) this.remove(line.series);
    this.lines = Object.keys(KINDS).filter((name) => name in choice).map((name) => ({
      name,
      period: choice[name],
      run: new Run(KINDS[name].make(choice[name])),
      series: this.add(KINDS[name].scale, this.color(name)),
      values: new Map(),
    }));
  }

  recolor() {
    for (const line of this.lines) line.series.applyOptions({ color: this.color(line.name) });
  }

  drawAll(bars) {
    for (const line of this.lines) {
      const values = line.run.all(bars);
      line.values = new Map(bars.map((bar, i) => [bar.open_time, values[i]]));
      line.series.setData(bars.map((bar, i) => this.#point(bar, values[i])));
    }
  }

  // The newest bar, or the one after it.
  drawNewest(bar) {
    for (const line of this.lines) {
      const value = line.run.next(bar);
      line.values.set(bar.open_time, value);
      line.series.update(this.#point(bar, value));
    }
  }

  // [{ name, label, value }] at a bar; a value is exact text, or null.
  at(time) {
    return this.lines.map((line) => {
      const value = line.values.get(time) ?? null;
      const label = KINDS[line.name].title + (line.period === null ? "" : ` ${line.period}`);
      return { name: line.name, label, value: value === null ? null : text(value) };
    });
  }

  #point(bar, value) {
    const time = bar.open_time / 1000;
    return value === null ? { time } : { time, value: Number(text(value)) }; // a float only to be drawn
  }
}
