// Keys that command the page; while a field or a dialog has the focus, they are text.

// keys: key -> action. isReady() -> whether the page takes keys yet.
export function bindKeys(isReady, keys) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !isReady() || document.querySelector("dialog[open]")) return;
    if (event.target.closest("input, select, textarea") || !(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });
}
