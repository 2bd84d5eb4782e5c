// What one bar is, in exact numbers: the text over the chart.

import { changeInPercent, rounded, show } from "./numbers.js";
import { doubtful, rising } from "./plot.js";

const PRICES = ["open", "high", "low", "close"];
const VOLUMES = ["volume", "quote_volume", "taker_buy_volume"];

// part(name) -> the element; bar: none where there is none; values: of the indicators, as Overlays.at gives them;
// base: the bar that percents count from, if there is one; tables: of its corrections, oldest first.
export function drawLegend(part, { symbol, interval, bar, time, decimals, values, base, tables }) {
  const set = (name, text) => { part(`value-${name}`).textContent = text; };
  part("legend-symbol").textContent = symbol;
  part("legend-interval").textContent = interval;
  part("legend-prices").hidden = part("legend-volumes").hidden = !bar;
  part("legend").dataset.direction = bar ? (rising(bar) ? "up" : "down") : "";
  part("legend-time").textContent = time;
  for (const name of PRICES) set(name, bar ? show(bar[name], decimals) : "");
  for (const name of VOLUMES) set(name, bar ? show(bar[name], 0) : "");
  set("change", bar ? changeInPercent(bar.open, bar.close) : "");
  part("legend-base").hidden = !bar || !base;
  set("base", bar && base ? changeInPercent(base.close, bar.close) : "");
  set("base-close", base ? show(base.close, decimals) : "");
  set("trade_count", bar ? bar.trade_count.toLocaleString("en") : "");
  set("ids", bar && bar.first_trade_id !== null ? `${bar.first_trade_id}–${bar.last_trade_id}` : "–");
  part("legend-corrections").hidden = tables.length === 0;
  part("legend-corrections").replaceChildren(...tables.reverse());
  drawIndicators(part("legend-indicators"), values, decimals);
  part("legend-marks").replaceChildren(...badges(bar).map(([kind, text]) => {
    const badge = document.createElement("span");
    badge.className = `badge ${kind}`;
    badge.textContent = text;
    return badge;
  }));
}

// One sentence for readers of the screen, in every digit.
export function sentence(bar, head) {
  return `${head}: open ${bar.open}, high ${bar.high}, low ${bar.low}, close ${bar.close}, volume ${bar.volume}`;
}

function badges(bar) {
  const found = [];
  if (bar && !bar.closed) found.push(["forming", "forming"]);
  if (bar && doubtful(bar)) found.push(["incomplete", "not proven complete"]);
  if (bar && bar.revision > 0) found.push(["revised", `revision ${bar.revision}`]);
  return found;
}

function drawIndicators(list, values, decimals) {
  list.hidden = values.length === 0;
  list.replaceChildren(...values.map(({ name, label, value }) => {
    const [row, title, number] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
    const [exact, shown] = name === "volume" ? [8, 0] : [decimals, decimals];
    row.dataset.indicator = name;
    title.textContent = label;
    number.textContent = value === null ? "–" : show(rounded(value, exact), shown);
    row.append(title, number);
    return row;
  }));
}
