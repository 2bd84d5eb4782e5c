// The exchange's time, as the daemon's messages say it; the clock of this machine is not asked.

const BELIEVED_MS = 10_000; // then a message is taken even if it seems late: the daemon's clock may have been set back

export class ExchangeClock {
  constructor() {
    this.ahead = null; // of the browser's monotonic clock, in ms
    this.takenAt = 0;
  }

  // A message's time. The one that was least on its way counts.
  hear(ms) {
    if (!ms) return;
    const here = performance.now();
    if (this.ahead !== null && ms - here < this.ahead && here - this.takenAt < BELIEVED_MS) return;
    this.ahead = ms - here;
    this.takenAt = here;
  }

  // ms since 1970; null before the first message
  now() {
    return this.ahead === null ? null : performance.now() + this.ahead;
  }
}

const two = (number) => String(number).padStart(2, "0");

// 42000 -> "0:42", 3723000 -> "1:02:03", 90000000 -> "1d 1:00:00"; begun seconds count.
export function countdown(ms) {
  const all = Math.max(0, Math.ceil(ms / 1000));
  const [days, hours, minutes, seconds] = [Math.floor(all / 86400), Math.floor(all / 3600) % 24, Math.floor(all / 60) % 60, all % 60];
  const short = days || hours ? `${hours}:${two(minutes)}:${two(seconds)}` : `${minutes}:${two(seconds)}`;
  return days ? `${days}d ${short}` : short;
}
