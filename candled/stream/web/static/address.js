// Which charts the address asks for, of those that the daemon serves.

import { COUNTS } from "./grid.js";
import { readHash } from "./view.js";

const LONGER = ["5m", "1h", "1d", "15m", "4h", "1w"]; // intervals of further charts where no further symbol is

// -> { choices, at, view, problem }: what of it cannot be shown is said by `problem`, a sentence or "".
export function resolve(hash, market) {
  let link = { choices: [{ symbol: "", interval: "" }], at: 0, view: null };
  let problem = "";
  try {
    link = readHash(hash);
  } catch {
    problem = "The link is malformed";
  }
  const count = COUNTS.find((number) => number >= link.choices.length) ?? COUNTS.at(-1);
  const found = link.choices.slice(0, count).map((choice) => known(choice, market));
  problem ||= found.find((choice) => choice.problem)?.problem ?? "";
  const choices = fill(found.map(({ symbol, interval }) => ({ symbol, interval })), count, market);
  const at = Math.min(link.at, choices.length - 1);
  return { choices, at, view: link.view, problem: problem && `${problem}: this is ${choices[at].symbol} ${choices[at].interval}.` };
}

// As many charts as that: those beyond the ones there are get further symbols, or else longer bars.
export function fill(choices, count, market) {
  const filled = choices.slice(0, count);
  while (filled.length < count) {
    const { symbol, interval } = filled.at(-1);
    const next = market.symbols.find((name) => !filled.some((choice) => choice.symbol === name));
    const longer = LONGER.find((name) => market.intervals.includes(name) && !filled.some((choice) => choice.symbol === symbol && choice.interval === name));
    filled.push(next ? { symbol: next, interval } : { symbol, interval: longer ?? interval });
  }
  return filled;
}

// In any case of letters where that is clear (1m and 1M are not the same).
function known({ symbol, interval }, market) {
  const served = market.symbols.find((name) => name === symbol) ?? market.symbols.find((name) => name.toUpperCase() === symbol.toUpperCase());
  const length = market.intervals.find((name) => name === interval) ?? market.intervals.find((name) => name.toLowerCase() === interval.toLowerCase());
  const problem = symbol && !served ? `${symbol.slice(0, 40)} is not served here` : interval && !length ? `${interval.slice(0, 10)} is not an interval` : "";
  return { symbol: served ?? market.symbols[0], interval: length ?? "1m", problem };
}
