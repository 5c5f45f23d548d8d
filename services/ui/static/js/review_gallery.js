/** The images that are reviewed: which is framed, which are marked, and what the pointer and the keys do to that. */

import { byId, make, show } from "./dom.js";
import { percent, say } from "./review_words.js";

export class Gallery {
  /**
   * `classes` by id. `events` gets `decided(shots, classOf)` from buttons on an image, `changed()`, and tells by
   * `proposed(shot)` the class that would be put in place of the label.
   */
  constructor(list, project, classes, events) {
    Object.assign(this, { list, project, classes, events, shots: [], present: null, anchor: null });
    list.addEventListener("click", (event) => this.#onClick(event));
    list.addEventListener("focusin", (event) => this.#onFocus(event));
  }

  fill(shots) {
    this.shots = shots.map((shot) => ({ ...shot, marked: false }));
    this.list.replaceChildren(...this.shots.map((shot) => this.#item(shot)));
    this.anchor = null;
    this.#frame(this.shots[0] ?? null);
  }

  /** More of them: at the end, or before the others where they come back. */
  add(shots, first = false) {
    const known = new Set(this.shots.map((shot) => shot.id));
    const fresh = shots.filter((shot) => !known.has(shot.id)).map((shot) => ({ ...shot, marked: false }));
    this.shots = first ? [...fresh, ...this.shots] : [...this.shots, ...fresh];
    this.list[first ? "prepend" : "append"](...fresh.map((shot) => this.#item(shot)));
    if (first || !this.present) this.#frame(fresh[0] ?? this.present);
    this.events.changed();
  }

  /** Images that were dealt with leave; the keys stay where they were. */
  remove(shots) {
    const gone = new Set(shots);
    const hadFocus = this.list.contains(document.activeElement);
    const at = this.shots.indexOf(this.present);
    const next = this.shots.slice(Math.max(0, at)).find((shot) => !gone.has(shot));
    this.shots = this.shots.filter((shot) => !gone.has(shot));
    for (const shot of gone) shot.item.remove();
    this.anchor = null;
    this.#frame(gone.has(this.present) ? (next ?? this.shots.at(-1) ?? null) : this.present);
    if (hadFocus) this.present?.button.focus({ focusVisible: true });
  }

  get marked() {
    return this.shots.filter((shot) => shot.marked);
  }

  /** The marked images; without any, the framed one. */
  get targets() {
    const { marked } = this;
    if (marked.length) return marked;
    return this.present ? [this.present] : [];
  }

  markAll(most) {
    const marked = this.shots.slice(0, most).some((shot) => !shot.marked);
    this.shots.forEach((shot, at) => this.#mark(shot, marked && at < most));
    this.events.changed();
  }

  clear() {
    for (const shot of this.marked) this.#mark(shot, false);
    this.events.changed();
  }

  toggle() {
    if (this.present) this.#toggle(this.present);
  }

  go(dx, dy, extend) {
    const { shots, present } = this;
    if (!present) return;
    const step = dx || dy * this.#columns();
    const to = shots[Math.max(0, Math.min(shots.length - 1, shots.indexOf(present) + step))];
    if (extend) this.#markBetween(present, to, true);
    to.button.focus({ focusVisible: true });
    to.item.scrollIntoView({ block: "nearest" });
  }

  #item(shot) {
    const given = this.classes.get(shot.given);
    const said = this.classes.get(shot.said);
    const picture = make("img", { src: `/projects/${this.project}/images/${shot.id}/thumb`, alt: "", loading: "lazy", decoding: "async", draggable: "false" });
    if (Math.max(shot.width, shot.height) <= 64) picture.classList.add("pixels");
    const names = { name: shot.filename, given: given.name, said: said.name, confidence: percent(shot.confidence) };
    shot.button = make("button", { type: "button", class: "tile", "data-shot": shot.id, "aria-pressed": "false", "aria-label": say("shot", names), title: shot.filename, tabindex: "-1" }, picture);
    const facts = make("dl", { class: "review-facts" });
    facts.append(this.#fact(say("labelled"), given, percent(shot.own)), this.#fact(say("says"), said, percent(shot.confidence)));
    const text = make("div", { class: "shot-text" }, facts, this.#tags(shot));
    const buttons = make("div", { class: "review-each" });
    if (this.events.proposed(shot) !== shot.given) buttons.append(this.#each(shot, this.events.proposed(shot), "take"));
    buttons.append(this.#each(shot, shot.given, "keep"));
    shot.item = make("li", { class: "shot review-shot" }, shot.button, text, buttons);
    return shot.item;
  }

  #fact(term, one, sure) {
    const chip = make("span", { class: "chip", text: one.name, style: { "--colour": one.colour } });
    return make("div", {}, make("dt", { text: term }), make("dd", {}, chip, make("span", { class: "muted", text: sure })));
  }

  #tags(shot) {
    const tags = make("p", { class: "review-tags" });
    if (shot.holdout) tags.append(make("span", { class: "tag", text: say("holdout"), title: say("holdout_title") }));
    if (!shot.unseen) tags.append(make("span", { class: "tag", text: say("told"), title: say("told_title") }));
    if (shot.looked_at) tags.append(make("span", { class: "tag", text: say("looked_at") }));
    return tags;
  }

  #each(shot, classId, what) {
    const text = say(what, { name: this.classes.get(classId).name });
    const button = make("button", { type: "button", class: what === "take" ? "" : "quiet", tabindex: "-1", text });
    button.addEventListener("click", () => this.events.decided([shot], () => classId));
    return button;
  }

  #columns() {
    return getComputedStyle(this.list).gridTemplateColumns.split(" ").length;
  }

  #of(event) {
    const item = event.target.closest(".review-shot");
    return this.shots.find((shot) => shot.item === item);
  }

  #onClick(event) {
    if (!event.target.closest(".tile")) return;
    const shot = this.#of(event);
    if (event.shiftKey && this.anchor) this.#markBetween(this.anchor, shot, this.anchor.marked);
    else this.#toggle(shot);
  }

  #onFocus(event) {
    const shot = this.#of(event);
    if (shot) this.#frame(shot);
  }

  #toggle(shot) {
    this.#mark(shot, !shot.marked);
    this.anchor = shot;
    this.#frame(shot);
    this.events.changed();
  }

  #mark(shot, marked) {
    shot.marked = marked;
    shot.button.setAttribute("aria-pressed", String(marked));
    shot.item.classList.toggle("marked", marked);
  }

  #markBetween(a, b, marked) {
    const [from, to] = [this.shots.indexOf(a), this.shots.indexOf(b)].sort((x, y) => x - y);
    for (const shot of this.shots.slice(from, to + 1)) this.#mark(shot, marked);
    this.events.changed();
  }

  /** One image has the frame, and only its buttons are on the way of the Tab key. */
  #frame(shot) {
    this.#reach(this.present, false);
    this.present = shot;
    this.#reach(shot, true);
    show(byId("bar"), Boolean(shot));
    this.events.changed();
  }

  #reach(shot, framed) {
    if (!shot) return;
    shot.item.classList.toggle("framed", framed);
    for (const button of shot.item.querySelectorAll("button")) button.tabIndex = framed ? 0 : -1;
  }
}
