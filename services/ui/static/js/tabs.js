/** Tabs (WAI-ARIA: arrow keys, Home and End move, what is moved to is shown), the chosen one in the address. */

import { show } from "./dom.js";

export class Tabs {
  /** `chosen(id)` is called with the panel's id when another is shown. */
  constructor(list, chosen) {
    this.tabs = [...list.querySelectorAll("[role=tab]")];
    this.chosen = chosen;
    for (const tab of this.tabs) tab.addEventListener("click", () => this.choose(tab));
    list.addEventListener("keydown", (event) => this.#move(event));
    addEventListener("hashchange", () => this.#fromAddress());
    this.#fromAddress();
  }

  get panel() {
    return this.current.getAttribute("aria-controls");
  }

  choose(tab) {
    history.replaceState(null, "", `#${nameOf(tab)}`);
    this.#show(tab);
  }

  #fromAddress() {
    this.#show(this.tabs.find((tab) => `#${nameOf(tab)}` === location.hash) ?? this.tabs[0]);
  }

  #show(tab) {
    this.current = tab;
    for (const one of this.tabs) {
      one.setAttribute("aria-selected", String(one === tab));
      one.tabIndex = one === tab ? 0 : -1;
      show(document.getElementById(one.getAttribute("aria-controls")), one === tab);
    }
    this.chosen(this.panel);
  }

  #move(event) {
    const at = this.tabs.indexOf(event.target);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: this.tabs.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    const tab = this.tabs[(to + this.tabs.length) % this.tabs.length];
    tab.focus();
    this.choose(tab);
  }
}

const nameOf = (tab) => tab.id.replace("tab-", "");
