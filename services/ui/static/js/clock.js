/**
 * Time at work: it stands still while the page is hidden, while it is held, and from a while after the last sign of
 * life. What an answer took is to be what somebody looked at the image, not what they were away.
 */

const IDLE_MS = 60_000;

export class Clock {
  constructor() {
    this.worked = 0;
    this.begun = 0;
    this.last = document.hidden ? null : performance.now();
    this.held = false;
    document.addEventListener("visibilitychange", () => this.#account(document.hidden));
    for (const kind of ["keydown", "pointerdown", "pointermove", "wheel"]) {
      addEventListener(kind, () => this.#account(), { capture: true, passive: true });
    }
  }

  /** A new image is on show. */
  begin() {
    this.#account();
    this.begun = this.worked;
  }

  /** Milliseconds worked since `begin`. */
  lap() {
    this.#account();
    return Math.round(this.worked - this.begun);
  }

  /** Stand still, or go on: something else is looked at. */
  hold(held) {
    this.#account();
    this.held = held;
  }

  /** Milliseconds worked on this page. */
  get total() {
    return this.worked + this.#running();
  }

  get isIdle() {
    return this.last === null || performance.now() - this.last > IDLE_MS;
  }

  #running() {
    return this.last === null || this.held ? 0 : Math.min(performance.now() - this.last, IDLE_MS);
  }

  #account(hidden = document.hidden) {
    this.worked += this.#running();
    this.last = hidden ? null : performance.now();
  }
}
