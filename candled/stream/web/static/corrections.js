// Bars that were revised while the page was open: what each was before, and after. Values stay as the daemon sent them.

const COUNT_MAX = 1000; // then the oldest are forgotten
const FIELDS = {
  open: "Open", high: "High", low: "Low", close: "Close", volume: "Volume", quote_volume: "Quote volume",
  taker_buy_volume: "Taker buy volume", taker_buy_quote_volume: "Taker buy quote", trade_count: "Trades",
  first_trade_id: "First id", last_trade_id: "Last id", complete: "Proven complete",
};

export class Corrections {
  constructor() {
    this.all = []; // oldest first
  }

  // at: exchange time in ms at which the daemon sent the revision; null: it fell into a break of the connection.
  add(before, after, at) {
    const changes = Object.entries(FIELDS)
      .filter(([name]) => before[name] !== after[name])
      .map(([name, title]) => ({ name, title, before: before[name], after: after[name] }));
    this.all.push({ before, after, at, changes });
    if (this.all.length > COUNT_MAX) this.all.shift();
  }

  // Of one bar, oldest first.
  of(bar) {
    return this.all.filter(({ after }) => after.symbol === bar.symbol && after.interval === bar.interval && after.open_time === bar.open_time);
  }

  // Open times in ms of the bars of a symbol and interval that have some.
  times(symbol, interval) {
    return new Set(this.all.filter(({ after }) => after.symbol === symbol && after.interval === interval).map(({ after }) => after.open_time));
  }
}
