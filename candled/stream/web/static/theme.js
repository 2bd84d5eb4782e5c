// Dark or light: as it was chosen on this machine, else as the system says.

const KEY = "theme";
const wantsLight = window.matchMedia("(prefers-color-scheme: light)");
const stored = () => { try { return localStorage.getItem(KEY); } catch { return null; } };
const apply = () => { document.documentElement.dataset.theme = stored() ?? (wantsLight.matches ? "light" : "dark"); };
const listeners = [];
const changed = () => { for (const listener of listeners) listener(); };

apply();
wantsLight.addEventListener("change", () => { apply(); changed(); });

export const onTheme = (listener) => { listeners.push(listener); };

export function toggleTheme() {
  const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  try { localStorage.setItem(KEY, next); } catch { /* the choice is not kept */ }
  changed();
}

export const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

// The colours that the canvas needs, by name.
export const palette = () => Object.fromEntries(
  ["page", "line", "label", "text", "quiet", "up", "down", "up-column", "down-column", "doubt", "revised"].map((name) => [name, color(name)]),
);
