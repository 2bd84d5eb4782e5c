// What the daemon serves, asked for until it answers; with tokens, the reader is asked for one first.

const RETRY_MS = 1000;
const byId = (id) => document.getElementById(id);

// -> { symbols, intervals, version, exchange }. notify(text) shows a sentence, or none.
export async function findMarket(notify) {
  for (;;) {
    let reason = "The daemon does not answer.";
    try {
      const answer = await fetch("api/symbols");
      byId("token").hidden = answer.status !== 401;
      if (answer.status === 401) {
        await askToken(notify);
        continue;
      }
      const found = await answer.json();
      if (answer.ok && found.symbols.length) {
        notify("");
        return found;
      }
      reason = answer.ok ? "The daemon has no symbol yet." : found.error;
    } catch { /* it does not answer */ }
    showConnection("lost", "not connected, trying again");
    notify(reason);
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

// The daemon answers 401 until it has got a token; it then keeps it in a cookie that no script can read.
async function askToken(notify) {
  showConnection("stale", "a token is needed");
  await new Promise((resolve) => byId("token").addEventListener("submit", (event) => {
    event.preventDefault();
    resolve();
  }, { once: true }));
  const token = byId("token-value").value.trim();
  const answer = await fetch("api/token", { method: "POST", headers: { Authorization: `Bearer ${token}` } });
  notify(answer.status === 401 ? "The daemon does not accept this token: try another." : "");
}

function showConnection(state, text) {
  byId("connection").dataset.state = state;
  byId("connection-text").textContent = text;
}
