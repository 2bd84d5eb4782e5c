// The list in which indicators are switched on and given their periods.

import { KINDS, PERIOD_MAX } from "./indicators.js";
import { period } from "./view.js";

// chosen: { sma: 20, ... }. apply(indicators) takes a changed choice.
export function listIndicators(list, chosen, apply) {
  const indicators = { ...chosen };
  list.replaceChildren(...Object.entries(KINDS).map(([name, kind]) => {
    const [row, label, box, about] = ["p", "label", "input", "span"].map((tag) => document.createElement(tag));
    box.type = "checkbox";
    box.name = name;
    box.checked = name in indicators;
    label.append(box, ` ${kind.title}`);
    about.className = "about";
    about.textContent = kind.about;
    const length = document.createElement("input");
    if (kind.period !== null) {
      Object.assign(length, { type: "number", min: 1, max: PERIOD_MAX, value: indicators[name] ?? kind.period });
      length.setAttribute("aria-label", `Bars of ${kind.title}`);
    }
    const changed = () => {
      delete indicators[name];
      if (box.checked) indicators[name] = period(kind, length.value);
      apply({ ...indicators });
    };
    box.addEventListener("change", changed);
    length.addEventListener("change", changed);
    row.append(label, ...(kind.period === null ? [] : [length]), about);
    return row;
  }));
}
