// Exact numbers: text with eight decimals, as the daemon writes it, and BigInt in units of 10^-8. No floats, but for `short` and `percent`.

// "96000.10000000" -> units of 10^-8. Finer decimals, which quote volumes of some exchanges have, are cut off.
export const units = (text) => {
  const end = text.indexOf(".") + 9;
  return BigInt((text.length > end ? text.slice(0, end) : text).replace(".", ""));
};

// Units of 10^-places -> "96000.10000000".
export function text(value, places = 8) {
  const digits = (value < 0n ? -value : value).toString().padStart(places + 1, "0");
  const sign = value < 0n ? "-" : "";
  return places ? `${sign}${digits.slice(0, -places)}.${digits.slice(-places)}` : sign + digits;
}

// The nearest integer to a quotient; halves go away from zero.
export function divide(number, by) {
  const negative = number < 0n !== by < 0n;
  const [a, b] = [number < 0n ? -number : number, by < 0n ? -by : by];
  const rounded = (2n * a + b) / (2n * b);
  return negative ? -rounded : rounded;
}

// Text rounded to fewer decimals: an average has more of them than a price.
export const rounded = (exact, places) => text(divide(units(exact), 10n ** BigInt(8 - places)), places);

// Decimals of a text without its trailing zeros.
export const decimalsOf = (exact) => (exact.split(".")[1] ?? "").replace(/0+$/, "").length;

// Text for the reader: thousands are grouped, and there are at least `decimals` decimals.
export function show(exact, decimals) {
  const [integer, fraction = ""] = exact.split(".");
  const kept = fraction.replace(/0+$/, "").padEnd(decimals, "0");
  const grouped = integer.replace(/\B(?=(\d{3})+$)/g, ",");
  return kept ? `${grouped}.${kept}` : grouped;
}

// A number on an axis in few characters: 1200 -> "1.2K", 3400000 -> "3.4M". Rounded to three digits, so for an axis only.
export function short(number) {
  for (const [unit, suffix] of [[1, ""], [1e3, "K"], [1e6, "M"], [1e9, "B"], [1e12, "T"]]) {
    const digits = Number((number / unit).toPrecision(3));
    if (Math.abs(digits) < 1000) return `${digits.toLocaleString("en", { maximumSignificantDigits: 3 })}${suffix}`;
  }
  return `${Number((number / 1e12).toPrecision(3)).toLocaleString("en")}T`;
}

// A number of percents on an axis: -0.001 -> "0.00%". What rounds to nothing has no sign.
export function percent(number) {
  const digits = Math.abs(number).toFixed(2);
  return `${number < 0 && Number(digits) > 0 ? "−" : ""}${digits}%`;
}

// Difference of two numbers in percent of the first, cut to two decimals; "" where the first is zero.
export function changeInPercent(from, to) {
  const start = units(from);
  if (start === 0n) return "";
  const hundredths = ((units(to) - start) * 10000n) / start;
  const sign = hundredths < 0n ? "−" : hundredths > 0n ? "+" : "";
  return `${sign}${text(hundredths < 0n ? -hundredths : hundredths, 2)} %`;
}
