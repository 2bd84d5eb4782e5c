// One event stream for all charts of the page, as a browser opens few connections to one address: those who join say which
// bars they want, and get them from whichever connection is open.

const RETRY_MS = 2000;

export class Streams {
  constructor() {
    this.members = new Set();
    this.source = null;
    this.query = "";
    this.isDue = false; // whether members changed since the connection was opened
  }

  // listener: { opened(), bar(message), status(status), ended(), failed() } -> { isOpen(), leave() }
  join(symbol, interval, listener) {
    const member = { symbol, interval, listener, isCarried: false };
    this.members.add(member);
    this.#settle();
    return {
      isOpen: () => member.isCarried && this.source?.readyState === EventSource.OPEN,
      leave: () => { this.members.delete(member); this.#settle(); },
    };
  }

  // Several may come and go at once: a connection is opened when they have.
  #settle() {
    if (this.isDue) return;
    this.isDue = true;
    queueMicrotask(() => { this.isDue = false; this.#open(); });
  }

  #wanted() {
    const each = (name) => [...new Set([...this.members].map((member) => member[name]))].sort().map((value) => [name, value]);
    return String(new URLSearchParams([...each("symbol"), ...each("interval")]));
  }

  // The connection before stays until the new one is there, so that members of both miss nothing.
  #open() {
    const query = this.#wanted();
    const isNew = [...this.members].some((member) => !member.isCarried);
    if (!isNew && query === this.query && this.source?.readyState !== EventSource.CLOSED) return;
    const before = this.source;
    this.source = null;
    this.query = query;
    if (this.members.size === 0) { before?.close(); return; }
    const source = new EventSource(`api/stream?${query}`);
    const members = [...this.members];
    const of = (bar) => members.filter((member) => this.members.has(member) && member.symbol === bar.symbol && member.interval === bar.interval);
    const present = () => members.filter((member) => this.members.has(member));
    this.source = source;
    let isFirst = true;
    source.onopen = () => {
      const wasOpen = before?.readyState === EventSource.OPEN;
      before?.close();
      for (const member of present()) {
        if (isFirst && wasOpen && member.isCarried) continue; // it lost nothing
        member.isCarried = true;
        member.listener.opened();
      }
      isFirst = false;
    };
    source.addEventListener("bar", (event) => {
      const message = JSON.parse(event.data);
      for (const member of of(message.bar)) member.listener.bar(message);
    });
    source.addEventListener("status", (event) => {
      const status = JSON.parse(event.data);
      for (const member of present()) member.listener.status(status);
    });
    source.addEventListener("end", () => { for (const member of present()) member.listener.ended(); });
    source.onerror = () => {
      before?.close();
      if (this.source !== source) return;
      for (const member of present()) member.listener.failed();
      // The browser tries again by itself unless it was refused.
      if (source.readyState === EventSource.CLOSED) setTimeout(() => { if (this.source === source) this.#open(); }, RETRY_MS);
    };
  }
}
