// The state of a connection in words.

function duration(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return ms < 60000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 60000)} min`;
}

// What the feed says (state, text) and what the daemon says of the symbol -> { state, text } to show.
export function judged(state, text, symbol) {
  if (state !== "live" || !symbol) return { state, text };
  if (!symbol.live) return { state: "stale", text: "exchange stream not live" };
  const gaps = symbol.gaps_open;
  return { state, text: gaps ? `live · repairing ${gaps} gap${gaps > 1 ? "s" : ""}` : `live · lag ${duration(symbol.lag_ms)}` };
}
