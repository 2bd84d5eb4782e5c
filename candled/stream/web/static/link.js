// Charts that look at the same time: from places in the list of one's bars to times, and to places in another's.

const BARS_MIN = 10; // that a chart of longer bars shows of a short time

const length = (bar) => bar.close_time - bar.open_time;

// The time in ms at a place in a list of bars; a bar's own place is its open time.
export function timeAt(bars, place) {
  const [first, last] = [bars[0], bars.at(-1)];
  if (place < 0) return first.open_time + place * length(first);
  if (place >= bars.length - 1) return last.open_time + (place - (bars.length - 1)) * length(last);
  const bar = bars[Math.floor(place)];
  return bar.open_time + (place % 1) * length(bar);
}

// Place of the bar that a time is in, or of the last one before it; -1: it is before all.
export function indexAt(bars, time) {
  let [low, high] = [-1, bars.length - 1];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (bars[middle].open_time <= time) low = middle;
    else high = middle - 1;
  }
  return low;
}

export function placeAt(bars, time) {
  const index = indexAt(bars, time);
  if (index < 0) return (time - bars[0].open_time) / length(bars[0]);
  const part = (time - bars[index].open_time) / length(bars[index]);
  return index === bars.length - 1 ? index + part : index + Math.min(1, part); // a hole in the history is no place
}

// The range of places that shows a span of time { from, to } in ms, within what a chart can show.
export function rangeOf(bars, span, barsMax) {
  const to = placeAt(bars, span.to);
  const from = placeAt(bars, span.from);
  return { from: Math.min(to - BARS_MIN, Math.max(from, to - barsMax)), to };
}
