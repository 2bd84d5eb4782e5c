// Files of what is seen: bars as CSV, the drawing as PNG.

// The columns of `candled bars --format csv`, in its order.
const COLUMNS = [
  "symbol", "interval", "open_time", "close_time", "open", "high", "low", "close", "volume", "quote_volume", "trade_count",
  "taker_buy_volume", "taker_buy_quote_volume", "first_trade_id", "last_trade_id", "closed", "complete", "revision",
];
const BAND = 24; // pixels beneath the drawing, for its source
const MARGIN = 8;

const isoTime = (ms) => new Date(ms).toISOString().replace(/\.000Z$/, "+00:00");

function cell(name, value) {
  if (value === null) return "";
  const text = name.endsWith("_time") ? isoTime(value) : String(value);
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function csvOf(bars) {
  const rows = bars.map((bar) => COLUMNS.map((name) => cell(name, bar[name])).join(","));
  return `${[COLUMNS.join(","), ...rows].join("\n")}\n`;
}

// "BTCUSDT-1m-20260517T0640.csv": the time is that of the first bar.
export function fileName(bar, ending) {
  const time = new Date(bar.open_time).toISOString().slice(0, 16).replace(/[-:]/g, "");
  return `${bar.symbol.replace(/[^\w.-]/g, "_")}-${bar.interval}-${time}.${ending}`;
}

// charts: [{ canvas, legend }]: the drawing, and the element that has its numbers, at their places in `whole`.
export function picture(whole, charts, source) {
  const box = whole.getBoundingClientRect();
  const scale = window.devicePixelRatio;
  const canvas = Object.assign(document.createElement("canvas"), { width: box.width * scale, height: (box.height + BAND) * scale });
  const context = canvas.getContext("2d");
  const style = getComputedStyle(document.body);
  context.scale(scale, scale);
  context.fillStyle = style.backgroundColor;
  context.fillRect(0, 0, box.width, box.height + BAND);
  context.textBaseline = "middle";
  for (const { canvas: drawing, element, legend } of charts) {
    const place = element.getBoundingClientRect();
    context.drawImage(drawing, place.left - box.left, place.top - box.top, place.width, place.height);
    drawTexts(context, legend, box);
  }
  context.font = `12px ${style.fontFamily}`;
  context.fillStyle = style.color;
  context.fillText(source, MARGIN, box.height + BAND / 2, box.width - 2 * MARGIN);
  return canvas;
}

// Each text where the page has it, in its font and colour.
function drawTexts(context, element, box) {
  const texts = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  const range = document.createRange();
  while (texts.nextNode()) {
    range.selectNodeContents(texts.currentNode);
    const place = range.getBoundingClientRect();
    if (!texts.currentNode.data.trim() || place.width === 0) continue;
    const { fontWeight, fontSize, fontFamily, color } = getComputedStyle(texts.currentNode.parentElement);
    context.font = `${fontWeight} ${fontSize} ${fontFamily}`;
    context.fillStyle = color;
    context.fillText(texts.currentNode.data.trim(), place.left - box.left, place.top - box.top + place.height / 2);
  }
}

export function save(name, blob) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
