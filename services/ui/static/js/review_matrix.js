/** The numbers of the diagonal picture as a table of buttons; of many classes, the pairs that differ most often. */

import { make } from "./dom.js";
import { say } from "./review_words.js";

const MOST_CLASSES = 14;
const MOST_PAIRS = 60;

export class Matrix {
  /** `choose(given, said)` by position; `words(cell)` says what a cell holds. */
  constructor(holder, classes, words, choose) {
    Object.assign(this, { holder, classes, words, choose, chosen: null, at: null });
    holder.addEventListener("click", (event) => {
      const cell = this.#of(event.target);
      if (cell) choose(...cell);
    });
    holder.addEventListener("keydown", (event) => this.#onKey(event));
  }

  fill(counts) {
    const had = this.#of(document.activeElement);
    this.counts = counts;
    this.holder.replaceChildren(this.classes.length <= MOST_CLASSES ? this.#table() : this.#pairs());
    this.mark(this.chosen);
    if (had) this.#button(had)?.focus();
  }

  /** Which cell is shown below. */
  mark(cell) {
    this.chosen = cell;
    for (const button of this.holder.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(String(this.#of(button)) === String(cell)));
    }
  }

  #table() {
    const head = make("tr", {}, make("th", { scope: "col", text: say("people") }));
    for (const { name } of this.classes) head.append(make("th", { scope: "col" }, make("span", { text: name, title: name })));
    const body = make("tbody");
    for (const [given, { name }] of this.classes.entries()) {
      const row = make("tr", {}, make("th", { scope: "row" }, make("span", { text: name, title: name })));
      const sum = this.counts[given].reduce((a, b) => a + b, 0);
      for (const [said, count] of this.counts[given].entries()) {
        const shade = sum ? Math.round((10 * count) / sum) : 0;
        const cell = make("td", { class: `n ${given === said ? "right" : "wrong"} shade-${Math.max(shade, count && given !== said ? 1 : 0)}` });
        if (count) cell.append(this.#cellButton(given, said, count));
        row.append(cell);
      }
      body.append(row);
    }
    const caption = make("caption", { class: "unseen", text: `${say("people")} × ${say("model")}` });
    const above = make("tr", {}, make("td", {}), make("th", { scope: "colgroup", colspan: this.classes.length, class: "fine", text: say("model") }));
    return make("table", { class: "confusion review-matrix" }, caption, make("thead", {}, above, head), body);
  }

  #pairs() {
    const pairs = [];
    for (const [given, row] of this.counts.entries()) {
      for (const [said, count] of row.entries()) if (count && given !== said) pairs.push([given, said, count]);
    }
    pairs.sort((a, b) => b[2] - a[2]);
    const list = make("ol", { class: "review-pairs" });
    for (const [given, said, count] of pairs.slice(0, MOST_PAIRS)) {
      const text = `${this.classes[given].name} → ${this.classes[said].name}`;
      const button = make("button", { type: "button", class: "quiet", "data-cell": `${given},${said}`, "aria-label": this.words([given, said]) });
      button.append(make("span", { text }), make("strong", { text: count.toLocaleString() }));
      list.append(make("li", {}, button));
    }
    return list;
  }

  #cellButton(given, said, count) {
    const words = this.words([given, said]);
    return make("button", { type: "button", class: "cell", "data-cell": `${given},${said}`, "aria-label": words, title: words, text: count.toLocaleString() });
  }

  #of(element) {
    return element?.closest?.("[data-cell]")?.dataset.cell.split(",").map(Number) ?? null;
  }

  #button(cell) {
    return this.holder.querySelector(`[data-cell="${cell}"]`);
  }

  /** The arrows go to the next cell that holds something. */
  #onKey(event) {
    const from = this.#of(event.target);
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!from || !step) return;
    event.preventDefault();
    event.stopPropagation();
    let [given, said] = from;
    for (;;) {
      given += step[0];
      said += step[1];
      if (this.counts[given]?.[said] === undefined) return;
      const to = this.#button([given, said]);
      if (to) return void to.focus();
    }
  }
}
