/** Finding a class by its name, where there are more than keys: a few letters, the arrows, Enter. */

import { byId, closeDialog, make } from "./dom.js";

const MOST_SHOWN = 60;

/** How well `name` fits what was typed, lower is better; null: not at all. */
export function fit(name, typed) {
  const text = name.toLowerCase();
  if (text.startsWith(typed)) return 0;
  if (text.split(/[\s_\-/.]+/).some((word) => word.startsWith(typed))) return 1;
  if (text.includes(typed)) return 2;
  let from = 0;
  for (const letter of typed.replace(/\s/g, "")) {
    from = text.indexOf(letter, from) + 1;
    if (!from) return null;
  }
  return 3;
}

export class ClassSearch {
  /** `choose(classId)` is called with the class that was found, once the search is closed. */
  constructor(classes, choose) {
    this.classes = classes;
    this.choose = choose;
    this.dialog = byId("search");
    this.field = byId("search-field");
    this.list = byId("search-list");
    this.field.addEventListener("input", () => this.#draw());
    this.field.addEventListener("keydown", (event) => this.#onKey(event));
  }

  open() {
    this.field.value = "";
    this.#draw();
    this.dialog.showModal();
    this.field.focus();
  }

  #draw() {
    const typed = this.field.value.trim().toLowerCase();
    const fitting = this.classes.map((one, place) => ({ one, place, fit: fit(one.name, typed) }));
    this.found = fitting
      .filter((each) => each.fit !== null)
      .sort((a, b) => a.fit - b.fit || a.place - b.place)
      .slice(0, MOST_SHOWN)
      .map((each) => each.one);
    this.list.replaceChildren(...this.found.map((one, place) => this.#option(one, place)));
    byId("search-none").hidden = this.found.length > 0;
    this.#mark(0);
  }

  #option({ id, name, colour }, place) {
    const swatch = make("span", { class: "swatch", "aria-hidden": "true" });
    const option = make("li", { role: "option", id: `found-${place}`, style: { "--colour": colour } }, swatch, name);
    option.addEventListener("click", () => this.#choose(id));
    return option;
  }

  #mark(place) {
    this.marked = Math.max(0, Math.min(this.found.length - 1, place));
    for (const [at, option] of [...this.list.children].entries()) {
      option.setAttribute("aria-selected", String(at === this.marked));
    }
    this.list.children[this.marked]?.scrollIntoView({ block: "nearest" });
    this.field.setAttribute("aria-activedescendant", this.found.length ? `found-${this.marked}` : "");
  }

  #onKey(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 }[event.key];
    const enters = event.key === "Enter" && !event.isComposing;
    if (!step && !enters) return;
    event.preventDefault();
    event.stopPropagation(); // once this is closed the page would take the key for itself
    if (step) this.#mark(this.marked + step);
    else if (this.found.length) this.#choose(this.found[this.marked].id);
  }

  #choose(id) {
    closeDialog(this.dialog);
    this.choose(id);
  }
}
