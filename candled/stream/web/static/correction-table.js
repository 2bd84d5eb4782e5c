// Corrections for the reader: a table of each, and a sentence.

import { decimalsOf, show } from "./numbers.js";

const PRICES = ["open", "high", "low", "close"];

function shown(name, value, decimals) {
  if (value === null) return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (name.endsWith("_id")) return String(value);
  return show(String(value), PRICES.includes(name) ? decimals : 0);
}

const element = (tag, text, name = "") => {
  const made = document.createElement(tag);
  made.textContent = text;
  if (name) made.className = name;
  return made;
};

// when(ms) -> text of a time with its seconds
const title = ({ before, after, at }, when) => (
  `Revision ${before.revision} → ${after.revision}${at === null ? ", during a break of the connection" : ` at ${when(at)}`}`
);

// { before, after, at, changes } -> a table whose caption says when it was.
export function tableOf(correction, when) {
  const decimals = Math.max(...PRICES.flatMap((name) => [decimalsOf(correction.before[name]), decimalsOf(correction.after[name])]));
  const table = element("table", "", "corrected");
  const head = element("tr", "");
  head.append(...["", "before", "after"].map((text) => Object.assign(element("th", text), { scope: "col" })));
  const rows = correction.changes.map((change) => {
    const row = element("tr", "");
    row.dataset.field = change.name;
    const name = Object.assign(element("th", change.title), { scope: "row" });
    row.append(name, ...[change.before, change.after].map((value) => element("td", shown(change.name, value, decimals))));
    return row;
  });
  table.append(element("caption", title(correction, when)), ...(rows.length ? [head, ...rows] : []));
  return table;
}

export function sentenceOf(correction, when) {
  const changes = correction.changes.map((change) => `${change.title} ${shown(change.name, change.before, 0)}, now ${shown(change.name, change.after, 0)}`);
  return `${title(correction, when)}: ${changes.join("; ") || "no value changed"}`;
}

// All corrections, newest first, each beneath the bar that it is of. pick(bar) shows that bar.
export function listCorrections(list, corrections, nameOf, when, pick) {
  const entries = [...corrections].reverse().map((correction) => {
    const entry = element("li", "");
    const button = element("button", nameOf(correction.after));
    button.value = "bar";
    button.addEventListener("click", () => pick(correction.after));
    entry.append(button, tableOf(correction, when));
    return entry;
  });
  list.replaceChildren(...(entries.length ? entries : [element("li", "None since this page was opened.", "about")]));
}
