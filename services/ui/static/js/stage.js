/** The place where the image is shown: as large as it is of use, or closer, moved and turned by who looks. */

/** Images up to this side show their very pixels, each as a square of whole screen pixels. */
const TINY = 64;
/** Larger, a handful of pixels is harder to recognise, not easier. */
const TINY_SHOWN_AS = 400;
const LARGEST_ZOOM = 4;
const CLOSEST = 24;
const STEP = 1.3;
const MOVE_PX = 80;
/** A pointer that moved less than this has clicked. */
const STILL_PX = 5;

export class Stage {
  constructor(canvas) {
    this.canvas = canvas;
    this.picture = null;
    this.smooth = null; // null: by the size of the image
    this.pointers = new Map();
    this.#reset();
    new ResizeObserver(() => this.#fit()).observe(canvas);
    canvas.addEventListener("wheel", (event) => this.#onWheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.#onDown(event));
    canvas.addEventListener("pointermove", (event) => this.#onMove(event));
    for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, (event) => this.#onUp(event));
  }

  show(picture) {
    if (picture === this.picture) return;
    this.picture = picture;
    this.#reset();
    this.canvas.replaceChildren(...(picture ? [picture] : []));
    this.#fit();
  }

  /** Closer (1) or farther (-1). */
  zoom(direction) {
    this.#zoomTo(this.closer * STEP ** direction, 0, 0);
  }

  /** Move what is seen by steps. */
  move(stepsX, stepsY) {
    this.#place(this.x - stepsX * MOVE_PX, this.y - stepsY * MOVE_PX);
  }

  /** A quarter turn clockwise. */
  turn() {
    this.turned = (this.turned + 90) % 360;
    this.#fit();
  }

  /** All of the image again, upright. */
  reset() {
    this.#reset();
    this.#fit();
  }

  /** Whether enlarged pixels are smoothed; null: large images are, tiny ones are not. */
  setSmooth(smooth) {
    this.smooth = smooth;
    this.#fit();
  }

  get isSmooth() {
    const { naturalWidth: width = 0, naturalHeight: height = 0 } = this.picture ?? {};
    return this.smooth ?? Math.max(width, height) > TINY;
  }

  #reset() {
    this.closer = 1;
    this.x = 0;
    this.y = 0;
    this.turned = 0;
  }

  #fit() {
    if (!this.picture) return;
    const { naturalWidth: width, naturalHeight: height, style } = this.picture;
    const lies = this.turned % 180 !== 0;
    const { clientWidth: roomX, clientHeight: roomY } = this.canvas;
    const zoom = zoomOf(width, height, lies ? roomY : roomX, lies ? roomX : roomY);
    style.width = `${width * zoom}px`;
    style.height = `${height * zoom}px`;
    this.picture.classList.toggle("pixels", !this.isSmooth);
    this.#place(this.x, this.y);
  }

  /** Move to an offset from the middle, but not so far that the image is lost from sight. */
  #place(x, y) {
    if (!this.picture) return;
    const { offsetWidth, offsetHeight, style } = this.picture;
    const lies = this.turned % 180 !== 0;
    const spareX = Math.max(0, ((lies ? offsetHeight : offsetWidth) * this.closer - this.canvas.clientWidth) / 2);
    const spareY = Math.max(0, ((lies ? offsetWidth : offsetHeight) * this.closer - this.canvas.clientHeight) / 2);
    this.x = Math.max(-spareX, Math.min(spareX, x));
    this.y = Math.max(-spareY, Math.min(spareY, y));
    const plain = this.closer === 1 && this.turned === 0;
    style.transform = plain ? "" : `translate(${this.x}px, ${this.y}px) rotate(${this.turned}deg) scale(${this.closer})`;
    this.canvas.classList.toggle("closer", this.closer > 1);
  }

  /** Keeps the point at (fromX, fromY), counted from the middle of the canvas, where it is. */
  #zoomTo(wanted, fromX, fromY) {
    const closer = Math.max(1, Math.min(CLOSEST, wanted));
    const change = closer / this.closer;
    this.closer = closer;
    this.#place(fromX - (fromX - this.x) * change, fromY - (fromY - this.y) * change);
  }

  #fromMiddle({ clientX, clientY }) {
    const box = this.canvas.getBoundingClientRect();
    return [clientX - box.left - box.width / 2, clientY - box.top - box.height / 2];
  }

  #onWheel(event) {
    event.preventDefault();
    this.#zoomTo(this.closer * 1.0015 ** -event.deltaY, ...this.#fromMiddle(event));
  }

  #onDown(event) {
    if (event.button !== 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY, way: 0 });
  }

  #onMove(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const spread = this.#spread();
    const [dx, dy] = [event.clientX - before.x, event.clientY - before.y];
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY, way: before.way + Math.hypot(dx, dy) });
    if (this.pointers.size === 2) {
      this.#zoomTo((this.closer * this.#spread()) / spread, ...this.#fromMiddle(this.#middle()));
    }
    this.#place(this.x + dx / this.pointers.size, this.y + dy / this.pointers.size);
  }

  /** A click where it is closer brings that point to the middle: what dragging does, without dragging. */
  #onUp(event) {
    const pointer = this.pointers.get(event.pointerId);
    this.pointers.delete(event.pointerId);
    if (!pointer || pointer.way > STILL_PX || this.closer === 1 || event.type === "pointercancel") return;
    const [x, y] = this.#fromMiddle(event);
    this.#place(this.x - x, this.y - y);
  }

  #spread() {
    const [a, b] = [...this.pointers.values()];
    return b ? Math.max(1, Math.hypot(a.x - b.x, a.y - b.y)) : 1;
  }

  #middle() {
    const [a, b] = [...this.pointers.values()];
    return { clientX: (a.x + b.x) / 2, clientY: (a.y + b.y) / 2 };
  }
}

/** How many times its own size an image is shown so that all of it is seen. */
export function zoomOf(width, height, roomWidth, roomHeight) {
  if (!width || !height) return 1; // such as an SVG without a size
  const room = Math.min(roomWidth / width, roomHeight / height);
  const side = Math.max(width, height);
  if (side > TINY) return Math.min(room, LARGEST_ZOOM);
  const zoom = Math.min(room, TINY_SHOWN_AS / side);
  return zoom >= 1 ? Math.floor(zoom) : zoom;
}
