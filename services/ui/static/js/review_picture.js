/**
 * The diagonal picture: a point for every labelled image, in the cell of the class that people give it (the row) and the
 * class that the model gives it (the column). A click takes a cell, a drag draws a lasso.
 */

import { byId, show } from "./dom.js";
import { say } from "./review_words.js";

const EDGE = 8;
const DRAG_PX = 6;
const MOST_NAMED = 16;
const LARGEST = 620;

/** Two numbers from 0 to 1 that look random and are always the same for an image. */
function scatter(id) {
  let state = Math.imul(id ^ 0x9e3779b9, 0x85ebca6b);
  const next = () => {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d);
    state = Math.imul(state ^ (state >>> 12), 0x297a2d39);
    state ^= state >>> 15;
    return (state >>> 0) / 2 ** 32;
  };
  return [next(), next()];
}

/** Whether a point lies in a polygon: how often a ray to its left crosses an edge. */
function within([x, y], polygon) {
  let inside = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i, i += 1) {
    const [xi, yi] = polygon[i];
    const [xj, yj] = polygon[j];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) inside = !inside;
  }
  return inside;
}

export class Picture {
  /** `events` gets `cell(given, said)` by position, and `lasso(ids)`. */
  constructor(canvas, classes, events) {
    Object.assign(this, { canvas, classes, events, data: null, chosen: null, over: null, path: null });
    this.pen = canvas.getContext("2d");
    new ResizeObserver(() => this.#fit()).observe(canvas.parentElement);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#up(event));
    canvas.addEventListener("pointercancel", () => this.#leave());
    canvas.addEventListener("pointerleave", () => this.#leave());
    const lasso = byId("lasso");
    show(lasso, navigator.maxTouchPoints > 0); // a finger scrolls the page, unless it is told to draw
    lasso.addEventListener("click", () => {
      const on = lasso.getAttribute("aria-pressed") !== "true";
      lasso.setAttribute("aria-pressed", String(on));
      canvas.classList.toggle("drawing", on);
    });
  }

  fill(data) {
    this.data = data;
    const { images } = data.points;
    this.spots = images.map((id) => scatter(id));
    this.#fit();
  }

  /** Which cell is framed: `[given, said]` by position, or null. */
  choose(cell) {
    this.chosen = cell;
    this.draw();
  }

  #fit() {
    if (!this.data) return;
    const room = this.canvas.parentElement;
    const style = getComputedStyle(room);
    const width = Math.min(LARGEST, room.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight));
    if (width < 80) return;
    const scale = devicePixelRatio || 1;
    this.size = width;
    this.canvas.style.width = this.canvas.style.height = `${width}px`;
    this.canvas.width = this.canvas.height = Math.round(width * scale);
    this.pen.setTransform(scale, 0, 0, scale, 0, 0);
    this.#measure();
    this.draw();
  }

  #measure() {
    const { pen, classes } = this;
    pen.font = `13px ${getComputedStyle(this.canvas).fontFamily}`;
    this.named = classes.length <= MOST_NAMED;
    const widest = Math.max(...classes.map((one) => pen.measureText(one.name).width));
    this.left = this.named ? Math.min(Math.max(56, widest + 34), this.size * 0.3) : 34;
    this.low = this.named ? 46 : 34;
    this.side = (this.size - this.left - EDGE) / classes.length;
    this.down = (this.size - this.low - EDGE) / classes.length;
    const { points } = this.data;
    this.places = points.images.map((_, at) => {
      const [dx, dy] = this.spots[at];
      return [this.#x(points.said[at] + 0.08 + 0.84 * dx), this.#y(points.given[at] + 0.08 + 0.84 * dy)];
    });
  }

  #x = (column) => this.left + column * this.side;
  #y = (row) => EDGE + row * this.down;

  #cellAt([x, y]) {
    const said = Math.floor((x - this.left) / this.side);
    const given = Math.floor((y - EDGE) / this.down);
    const last = this.classes.length - 1;
    return said < 0 || given < 0 || said > last || given > last ? null : [given, said];
  }

  draw() {
    if (!this.data || !this.size) return;
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    const { pen, classes, side, down } = this;
    pen.clearRect(0, 0, this.size, this.size);
    const wide = classes.length * side;
    const high = classes.length * down;
    pen.fillStyle = colour("surface");
    pen.fillRect(this.left, EDGE, wide, high);
    pen.fillStyle = colour("accent-band");
    for (let at = 0; at < classes.length; at += 1) pen.fillRect(this.#x(at), this.#y(at), side, down);
    pen.strokeStyle = colour("line");
    pen.lineWidth = 1;
    pen.beginPath();
    for (let at = 0; at <= classes.length && side > 4; at += 1) {
      pen.moveTo(Math.round(this.#x(at)) + 0.5, EDGE);
      pen.lineTo(Math.round(this.#x(at)) + 0.5, EDGE + high);
      pen.moveTo(this.left, Math.round(this.#y(at)) + 0.5);
      pen.lineTo(this.left + wide, Math.round(this.#y(at)) + 0.5);
    }
    pen.stroke();
    this.#names(colour);
    this.#points(colour);
    if (this.over) this.#frame(this.over, colour("line-strong"), 1.5);
    if (this.chosen) this.#frame(this.chosen, colour("focus"), 3);
    if (this.path) this.#lasso(colour);
  }

  #names(colour) {
    const { pen, classes } = this;
    pen.font = `13px ${getComputedStyle(this.canvas).fontFamily}`;
    pen.textBaseline = "middle";
    for (const [at, { name, colour: own }] of classes.entries()) {
      const y = this.#y(at + 0.5);
      const x = this.#x(at + 0.5);
      pen.fillStyle = own;
      pen.fillRect(this.left - 9, y - Math.min(5, this.down / 2), 5, Math.min(10, this.down));
      pen.fillRect(x - Math.min(5, this.side / 2), EDGE + classes.length * this.down + 4, Math.min(10, this.side), 5);
      if (!this.named) continue;
      pen.fillStyle = colour("ink");
      pen.textAlign = "right";
      pen.fillText(this.#short(name, this.left - 34), this.left - 15, y);
      pen.textAlign = "center";
      pen.fillText(this.#short(name, this.side - 4), x, EDGE + classes.length * this.down + 20);
    }
    pen.fillStyle = colour("muted");
    pen.font = `12px ${getComputedStyle(this.canvas).fontFamily}`;
    pen.textAlign = "center";
    pen.fillText(say("model"), this.left + (this.size - this.left - EDGE) / 2, this.size - 7);
    pen.save();
    pen.translate(8, EDGE + (classes.length * this.down) / 2);
    pen.rotate(-Math.PI / 2);
    pen.fillText(say("people"), 0, 0);
    pen.restore();
  }

  #short(name, room) {
    if (this.pen.measureText(name).width <= room) return name;
    let text = name;
    while (text && this.pen.measureText(`${text}…`).width > room) text = text.slice(0, -1);
    return text ? `${text}…` : "";
  }

  /** The diagonal first and pale, so that what lies off it is on top. A ring: its label was looked at. */
  #points(colour) {
    const { pen, data, places } = this;
    const { given, said, looked_at: seen, images } = data.points;
    const radius = Math.max(1.1, Math.min(4, 60 / Math.sqrt(images.length), Math.min(this.side, this.down) / 5));
    for (const off of [false, true]) {
      pen.fillStyle = pen.strokeStyle = colour(off ? "bad" : "accent");
      pen.globalAlpha = off ? 0.85 : Math.max(0.25, Math.min(0.6, 300 / Math.sqrt(images.length) / 20));
      pen.lineWidth = 1.2;
      for (let at = 0; at < images.length; at += 1) {
        if ((given[at] !== said[at]) !== off) continue;
        pen.beginPath();
        pen.arc(places[at][0], places[at][1], radius, 0, 7);
        if (seen[at] && radius > 1.5) pen.stroke();
        else pen.fill();
      }
    }
    pen.globalAlpha = 1;
  }

  #frame([given, said], colour, width) {
    this.pen.strokeStyle = colour;
    this.pen.lineWidth = width;
    this.pen.strokeRect(this.#x(said) + 0.5, this.#y(given) + 0.5, Math.max(2, this.side), Math.max(2, this.down));
  }

  #lasso(colour) {
    const { pen, path } = this;
    pen.beginPath();
    for (const [x, y] of path) pen.lineTo(x, y);
    pen.closePath();
    pen.fillStyle = colour("accent-band");
    pen.fill();
    pen.strokeStyle = colour("focus");
    pen.lineWidth = 2;
    pen.stroke();
  }

  // The pointer

  #at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  #down(event) {
    if (!event.isPrimary || event.button) return;
    this.from = this.#at(event);
    this.canvas.setPointerCapture(event.pointerId);
  }

  #move(event) {
    const at = this.#at(event);
    if (this.from && (this.path || Math.hypot(at[0] - this.from[0], at[1] - this.from[1]) > DRAG_PX)) {
      this.path = [...(this.path ?? [this.from]), at];
      this.over = null;
      return this.#soon();
    }
    const cell = this.#cellAt(at);
    if (String(cell) === String(this.over)) return undefined;
    this.over = cell;
    this.canvas.classList.toggle("pointing", Boolean(cell && this.data.counts[cell[0]][cell[1]]));
    byId("under").textContent = cell ? this.words(cell) : "\u00a0";
    return this.#soon();
  }

  #up(event) {
    const { path } = this;
    const at = this.#at(event);
    const begun = this.from;
    this.from = this.path = null;
    if (path) {
      const { images } = this.data.points;
      this.chosen = null;
      this.events.lasso(images.filter((_, place) => within(this.places[place], path)));
    } else if (begun) {
      const cell = this.#cellAt(at);
      if (cell) this.events.cell(...cell);
    }
    this.draw();
  }

  #leave() {
    if (this.path) return;
    this.from = this.path = this.over = null;
    byId("under").textContent = "\u00a0";
    this.draw();
  }

  #soon() {
    cancelAnimationFrame(this.drawing);
    this.drawing = requestAnimationFrame(() => this.draw());
  }

  /** What a cell holds, in words. */
  words([given, said]) {
    const count = this.data.counts[given][said];
    const names = { given: this.classes[given].name, said: this.classes[said].name, count };
    return say(given === said ? "cell_same" : "cell", names);
  }
}
