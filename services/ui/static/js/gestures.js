/**
 * Pointer and keys on a map: dragging moves it, a wheel or two fingers zoom, and with Shift, or while the lasso is on, a
 * drag draws a line. What they mean is for `does`: `moved`, `drew(line, more)`, `hovered(x, y)`, `tapped(x, y, more)`,
 * `key(name, event)`.
 */

import { nameOf } from "./keys.js";

const STILL = 5; // pixels within which a press is a tap
const WHEEL = 0.0016;
const STEP = 60;

export class Gestures {
  constructor(canvas, view, does) {
    Object.assign(this, { canvas, view, does, lasso: false, line: null, pointers: new Map(), travelled: 0 });
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, (event) => this.#up(event));
    canvas.addEventListener("pointerleave", () => does.hovered(null));
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    canvas.addEventListener("keydown", (event) => this.#key(event));
  }

  #at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  #down(event) {
    if (event.button > 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.#at(event));
    this.does.hovered(null);
    if (this.pointers.size === 1) {
      this.travelled = 0;
      this.more = event.shiftKey;
      this.line = this.lasso || event.shiftKey ? [this.#at(event)] : null;
    } else this.line = null; // two fingers always zoom
  }

  #move(event) {
    const at = this.#at(event);
    const before = this.pointers.get(event.pointerId);
    if (!before) {
      if (event.pointerType !== "touch") this.does.hovered(...at);
      return;
    }
    this.travelled += Math.hypot(at[0] - before[0], at[1] - before[1]);
    if (this.pointers.size === 2) this.#pinch(event.pointerId, at);
    else if (this.line) this.line.push(at);
    else this.view.pan(at[0] - before[0], at[1] - before[1]);
    this.pointers.set(event.pointerId, at);
    this.does.moved();
  }

  #pinch(moving, to) {
    const [other] = [...this.pointers].filter(([id]) => id !== moving).map(([, at]) => at);
    const from = this.pointers.get(moving);
    const apart = (one) => Math.max(1, Math.hypot(one[0] - other[0], one[1] - other[1]));
    this.view.pan((to[0] - from[0]) / 2, (to[1] - from[1]) / 2);
    this.view.closer(apart(to) / apart(from), (to[0] + other[0]) / 2, (to[1] + other[1]) / 2);
  }

  #up(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    const { line } = this;
    this.line = null;
    this.does.moved();
    if (event.type === "pointercancel" || this.pointers.size) return;
    if (this.travelled < STILL) this.does.tapped(...this.#at(event), this.more);
    else if (line?.length > 2) this.does.drew(line, this.more && this.lasso);
  }

  #wheel(event) {
    event.preventDefault();
    const pixels = event.deltaMode === 1 ? 16 * event.deltaY : event.deltaY;
    this.view.closer(Math.exp(-WHEEL * Math.max(-400, Math.min(400, pixels))), ...this.#at(event));
    this.does.moved();
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const name = nameOf(event);
    const steps = { ArrowLeft: [STEP, 0], ArrowRight: [-STEP, 0], ArrowUp: [0, STEP], ArrowDown: [0, -STEP] };
    if (steps[name]) this.view.pan(...steps[name]);
    else if (name === "+" || name === "=") this.view.closer(1.3);
    else if (name === "-") this.view.closer(1 / 1.3);
    else if (name === "0") this.view.whole();
    else if (!this.does.key(name)) return;
    event.preventDefault();
    this.does.moved();
  }
}
