/** The images of a page of the grid, in groups: which are marked, which group is the present one, where the keys are. */

import { make } from "./dom.js";
import { _ } from "./words.js";

export class Sheet {
  /** `classes` by id; `badge(group)` says what becomes of a marked image of a group. */
  constructor(holder, classes, badge) {
    this.holder = holder;
    this.classes = classes;
    this.badge = badge;
    this.groups = [];
    this.anchor = null;
    holder.addEventListener("click", (event) => this.#onClick(event));
    holder.addEventListener("focusin", (event) => this.#onFocus(event));
  }

  /** Tiles as the service gave them; with suggestions they lie in groups, the surest first. */
  fill(tiles) {
    const byClass = new Map();
    for (const tile of tiles) {
      const id = tile.suggestion?.class_id ?? null;
      if (!byClass.has(id)) byClass.set(id, []);
      byClass.get(id).push({ ...tile, marked: tile.marked ?? false });
    }
    const order = [...this.classes.keys(), null];
    const sure = (tile) => tile.suggestion?.confidence ?? 0;
    this.groups = order
      .filter((id) => byClass.has(id))
      .map((id) => ({ class_id: id, tiles: byClass.get(id).sort((a, b) => sure(b) - sure(a)) }));
    this.present = this.groups[0] ?? null;
    this.anchor = null;
    this.draw();
  }

  get tiles() {
    return this.groups.flatMap((group) => group.tiles);
  }

  get marked() {
    return this.tiles.filter((tile) => tile.marked);
  }

  /** Tiles that were dealt with leave the page. */
  remove(tiles) {
    const gone = new Set(tiles);
    const at = this.groups.indexOf(this.present);
    for (const group of this.groups) group.tiles = group.tiles.filter((tile) => !gone.has(tile));
    const left = this.groups.filter((group) => group.tiles.length);
    if (!left.includes(this.present)) this.present = left.find((group) => this.groups.indexOf(group) > at) ?? left[0] ?? null;
    this.groups = left;
    this.anchor = null;
    this.draw();
  }

  /** Tiles come back, to where they were. */
  restore(tiles) {
    this.fill([...tiles, ...this.tiles]);
  }

  mark(tile, marked) {
    tile.marked = marked;
    this.#drawTile(tile, this.#groupOf(tile));
  }

  /** All of the present group, or, where all are, none. */
  markAll() {
    const tiles = this.present?.tiles ?? [];
    const marked = tiles.some((tile) => !tile.marked);
    for (const tile of tiles) this.mark(tile, marked);
  }

  clear() {
    for (const tile of this.marked) this.mark(tile, false);
  }

  get focused() {
    const key = document.activeElement?.dataset?.tile;
    return this.tiles.find((tile) => String(tile.task_id) === key) ?? null;
  }

  toggleFocused() {
    const tile = this.focused;
    if (tile) this.#toggle(tile);
  }

  /** Go to the next image in a direction; `extend`: mark on the way. */
  go(dx, dy, extend) {
    const { tiles } = this;
    if (!tiles.length) return;
    const from = this.focused;
    if (!from) return this.#focus(this.present.tiles[0]);
    const step = dx || dy * this.#columns(this.#groupOf(from));
    const to = tiles[Math.max(0, Math.min(tiles.length - 1, tiles.indexOf(from) + step))];
    if (extend) this.#markBetween(from, to, true);
    return this.#focus(to);
  }

  draw() {
    this.holder.replaceChildren(...this.groups.map((group) => this.#group(group)));
    this.#drawPresent();
  }

  #group(group) {
    const { name, colour } = this.classes.get(group.class_id) ?? { name: _("Not grouped"), colour: "var(--line-strong)" };
    group.title = make("h2", {}, make("span", { class: "swatch", "aria-hidden": "true" }), make("span", { text: name }));
    group.title.append(make("span", { class: "muted", text: `${group.tiles.length}` }));
    const list = make("div", { class: "tiles-of" }, ...group.tiles.map((tile) => this.#tile(tile, group, name)));
    group.element = make("section", { class: "group", "aria-label": `${name}, ${group.tiles.length} images`, style: { "--colour": colour } });
    group.element.append(make("header", {}, group.title), list);
    return group.element;
  }

  #tile(tile, group, name) {
    if (!tile.picture) {
      tile.picture = make("img", { src: tile.image.url, alt: "", draggable: "false", decoding: "async" });
      if (Math.max(tile.image.width, tile.image.height) <= 64) tile.picture.classList.add("pixels");
    }
    const sure = tile.suggestion ? `, ${Math.round(100 * tile.suggestion.confidence)}% sure` : "";
    tile.name = `${name} ${group.tiles.indexOf(tile) + 1}${sure}`;
    tile.button = make("button", { type: "button", class: "tile", "data-tile": tile.task_id, title: `${name}${sure}` }, tile.picture);
    this.#drawTile(tile, group);
    return tile.button;
  }

  #drawTile(tile, group) {
    tile.button.setAttribute("aria-pressed", String(tile.marked));
    tile.button.querySelector(".badge")?.remove();
    const text = tile.marked ? this.badge(group) : "";
    if (text) tile.button.append(make("span", { class: "badge", text }));
    tile.button.setAttribute("aria-label", text ? `${tile.name}: ${text}` : tile.name);
  }

  #drawPresent() {
    for (const group of this.groups) group.element.classList.toggle("present", group === this.present && this.groups.length > 1);
  }

  #groupOf(tile) {
    return this.groups.find((group) => group.tiles.includes(tile));
  }

  #columns(group) {
    return getComputedStyle(group.element.querySelector(".tiles-of")).gridTemplateColumns.split(" ").length;
  }

  #onClick(event) {
    const tile = this.#of(event);
    if (!tile) return;
    if (event.shiftKey && this.anchor) this.#markBetween(this.anchor, tile, this.anchor.marked);
    else this.#toggle(tile);
  }

  #onFocus(event) {
    const tile = this.#of(event);
    if (!tile) return;
    this.present = this.#groupOf(tile);
    this.#drawPresent();
  }

  #of(event) {
    const key = event.target.closest(".tile")?.dataset.tile;
    return this.tiles.find((one) => String(one.task_id) === key);
  }

  #toggle(tile) {
    this.mark(tile, !tile.marked);
    this.anchor = tile;
  }

  #markBetween(a, b, marked) {
    const { tiles } = this;
    const [from, to] = [tiles.indexOf(a), tiles.indexOf(b)].sort((x, y) => x - y);
    if (from < 0) return;
    for (const tile of tiles.slice(from, to + 1)) this.mark(tile, marked);
  }

  #focus(tile) {
    tile.button.focus({ focusVisible: true });
    tile.button.scrollIntoView({ block: "nearest" });
  }
}
