// The charts of the page, one, two or four: each with its symbol and interval, with one crosshair and one time for all.

import { Pane } from "./pane.js";

export const COUNTS = [1, 2, 4];

export class Grid {
  // whole: the element that has them; its first child is the pane that the others are copies of. shared: what panes share.
  // listener: that of panes, and activated(at).
  constructor(whole, view, shared, listener) {
    this.whole = whole;
    this.view = view;
    this.shared = shared;
    this.listener = listener;
    this.model = whole.firstElementChild.cloneNode(true);
    this.panes = [];
    this.leader = null; // the pane whose time and crosshair the others follow: where the reader's hand is
    this.at = 0;
    this.#add(whole.firstElementChild, (name) => document.getElementById(name));
  }

  get active() { return this.panes[this.at]; }

  // choices: [{ symbol, interval }], as many as there are to be panes; at: place of the active one.
  show(choices, at, view) {
    this.view = view;
    while (this.panes.length > choices.length) this.#remove();
    while (this.panes.length < choices.length) this.#copy();
    this.whole.dataset.count = choices.length;
    this.activate(at);
    this.panes.forEach((pane, i) => {
      const { symbol, interval } = choices[i];
      if (pane.feed && pane.symbol === symbol && pane.interval === interval) pane.changeView(view);
      else pane.follow(symbol, interval, view);
      pane.part("pane").setAttribute("aria-label", choices.length > 1 ? `Chart ${i + 1} of ${choices.length}: ${symbol} ${interval}` : "Chart");
    });
  }

  changeView(view) {
    this.view = view;
    for (const pane of this.panes) pane.changeView(view);
  }

  recolor() { for (const pane of this.panes) pane.recolor(); }

  activate(at) {
    this.at = at;
    this.leader = this.active;
    this.panes.forEach((pane, i) => { pane.part("pane").dataset.active = i === at; });
  }

  #copy() {
    const suffix = `-${this.panes.length + 1}`;
    const element = this.model.cloneNode(true);
    for (const part of [element, ...element.querySelectorAll("[id]")]) part.id += suffix;
    element.querySelector("[aria-describedby]").setAttribute("aria-describedby", `keys${suffix}`);
    this.whole.append(element);
    this.#add(element, (name) => document.getElementById(name + suffix));
  }

  #add(element, part) {
    const pane = new Pane(part, this.view, this.shared, {
      ...this.listener,
      looked: () => this.#looked(pane),
      pointed: (time) => this.#pointed(pane, time),
      drawn: () => this.#drawn(pane),
    });
    this.panes.push(pane);
    const lead = () => { this.leader = pane; };
    for (const name of ["pointerenter", "pointerdown", "wheel", "touchstart"]) element.addEventListener(name, lead, { capture: true, passive: true });
    const take = () => {
      lead();
      const at = this.panes.indexOf(pane);
      if (at !== this.at) { this.activate(at); this.listener.activated(at); }
    };
    element.addEventListener("pointerdown", take);
    element.addEventListener("focusin", take);
  }

  #remove() {
    const pane = this.panes.pop();
    pane.remove();
    pane.part("pane").remove();
  }

  #others(pane) { return this.panes.filter((other) => other !== pane && other.feed); }

  #looked(pane) {
    if (pane !== this.leader || !pane.span) return;
    for (const other of this.#others(pane)) other.showSpan(pane.span);
  }

  #pointed(pane, time) {
    if (pane !== this.leader) return;
    for (const other of this.#others(pane)) other.showTime(time);
  }

  // Its bars are other ones: it looks where the leader does.
  #drawn(pane) {
    if (pane !== this.leader && this.leader?.span) pane.showSpan(this.leader.span);
  }
}
