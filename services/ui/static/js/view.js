/** Where one looks on a map: a centre in the map's units, and how many pixels a unit has. */

const [NEAREST, FURTHEST] = [400, 0.5];

export class View {
  /** @param {Float32Array} xs @param {Float32Array} ys */
  constructor(xs, ys) {
    const [left, right] = bounds(xs);
    const [bottom, top] = bounds(ys);
    this.middle = [(left + right) / 2, (bottom + top) / 2];
    this.extent = [Math.max(right - left, 1e-6), Math.max(top - bottom, 1e-6)];
    this.width = this.height = 1;
    this.x = this.y = 0;
    this.scale = 1;
  }

  /** The canvas has this size now, in CSS pixels. */
  resize(width, height) {
    const zoom = this.zoom;
    const first = this.width === 1;
    Object.assign(this, { width, height });
    if (first) this.whole();
    else this.scale = this.fitting * zoom;
  }

  get fitting() {
    return 0.94 * Math.min(this.width / this.extent[0], this.height / this.extent[1]);
  }

  /** 1 where the whole map fits. */
  get zoom() {
    return this.scale / this.fitting;
  }

  whole() {
    [this.x, this.y] = this.middle;
    this.scale = this.fitting;
  }

  /** Come closer by a factor, to what lies under a point of the screen. */
  closer(factor, px = this.width / 2, py = this.height / 2) {
    const [x, y] = this.toMap(px, py);
    this.scale = this.fitting * Math.min(NEAREST, Math.max(FURTHEST, this.zoom * factor));
    this.x = x - (px - this.width / 2) / this.scale;
    this.y = y + (py - this.height / 2) / this.scale;
  }

  /** Move what is seen by so many pixels. */
  pan(dx, dy) {
    this.x -= dx / this.scale;
    this.y += dy / this.scale;
  }

  toMap(px, py) {
    return [this.x + (px - this.width / 2) / this.scale, this.y - (py - this.height / 2) / this.scale];
  }

  toScreen(x, y) {
    return [(x - this.x) * this.scale + this.width / 2, (this.y - y) * this.scale + this.height / 2];
  }
}

function bounds(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}
