/**
 * Draws points: by WebGL, so that 50,000 of them move as fast as the screen does, or on a plain canvas where there is
 * none. Both take the same: places, a colour for each (four bytes, alpha 0 for what is hidden), the order in which they
 * are drawn, and which are chosen.
 */

const VERTEX = `#version 300 es
  in vec2 place; in vec4 colour;
  uniform vec2 centre; uniform vec2 scale; uniform float size; uniform vec4 instead;
  out vec4 tint;
  void main() {
    gl_Position = colour.a == 0.0 ? vec4(2.0, 2.0, 2.0, 1.0) : vec4((place - centre) * scale, 0.0, 1.0);
    gl_PointSize = size;
    tint = instead.a > 0.0 ? instead : colour;
  }`;
const FRAGMENT = `#version 300 es
  precision highp float;
  in vec4 tint; uniform float size; out vec4 drawn;
  void main() {
    float alpha = tint.a * clamp((0.5 - distance(gl_PointCoord, vec2(0.5))) * size, 0.0, 1.0);
    if (alpha == 0.0) discard;
    drawn = vec4(tint.rgb * alpha, alpha);
  }`;
const RING = 5; // pixels by which the ring around a chosen point is wider than the point

/** A painter for the canvas, and whether it is WebGL's. */
export function painterOf(canvas, xs, ys) {
  const gl = canvas.getContext("webgl2", { antialias: false, premultipliedAlpha: true });
  return gl ? new GlPainter(gl, xs, ys) : new FlatPainter(canvas.getContext("2d"), xs, ys);
}

/** Diameter of a point in CSS pixels: small where there are many, larger from close by. */
function sizeOf(count, zoom) {
  const whole = count > 20_000 ? 3 : count > 4_000 ? 4.5 : 7;
  return Math.min(18, whole * Math.max(1, Math.sqrt(zoom)));
}

class GlPainter {
  isGl = true;

  constructor(gl, xs, ys) {
    this.gl = gl;
    this.count = xs.length;
    this.places = new Float32Array(2 * xs.length);
    xs.forEach((x, at) => this.places.set([x, ys[at]], 2 * at));
    this.colours = new Uint8Array(4 * xs.length);
    this.order = new Uint32Array(0);
    this.chosen = new Uint32Array(0);
    this.#prepare();
    gl.canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    gl.canvas.addEventListener("webglcontextrestored", () => {
      this.#prepare();
      this.colour(this.colours, this.order);
      this.choose(this.chosen);
    });
  }

  colour(colours, order) {
    Object.assign(this, { colours, order });
    this.gl.bindBuffer(this.gl.ARRAY_BUFFER, this.colourBuffer);
    this.gl.bufferData(this.gl.ARRAY_BUFFER, colours, this.gl.DYNAMIC_DRAW);
    this.#fill(this.orderBuffer, order);
  }

  choose(indices) {
    this.chosen = indices;
    this.#fill(this.chosenBuffer, indices);
  }

  paint(view, ratio, ink) {
    const { gl } = this;
    const size = sizeOf(this.count, view.zoom) * ratio;
    gl.viewport(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniform2f(this.at.centre, view.x, view.y);
    gl.uniform2f(this.at.scale, (2 * view.scale) / view.width, (2 * view.scale) / view.height);
    gl.uniform4f(this.at.instead, 0, 0, 0, 0);
    gl.uniform1f(this.at.size, size);
    this.#points(this.orderBuffer, this.order);
    if (!this.chosen.length) return;
    gl.uniform1f(this.at.size, size + RING * ratio);
    gl.uniform4f(this.at.instead, ...ink.map((part) => part / 255), 1);
    this.#points(this.chosenBuffer, this.chosen);
    gl.uniform1f(this.at.size, size + ratio);
    gl.uniform4f(this.at.instead, 0, 0, 0, 0);
    this.#points(this.chosenBuffer, this.chosen);
  }

  #fill(buffer, indices) {
    this.gl.bindBuffer(this.gl.ELEMENT_ARRAY_BUFFER, buffer);
    this.gl.bufferData(this.gl.ELEMENT_ARRAY_BUFFER, indices, this.gl.DYNAMIC_DRAW);
  }

  #points(buffer, indices) {
    this.gl.bindBuffer(this.gl.ELEMENT_ARRAY_BUFFER, buffer);
    this.gl.drawElements(this.gl.POINTS, indices.length, this.gl.UNSIGNED_INT, 0);
  }

  #prepare() {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
    gl.useProgram(program);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    const uniforms = ["centre", "scale", "size", "instead"];
    this.at = Object.fromEntries(uniforms.map((name) => [name, gl.getUniformLocation(program, name)]));
    this.#attribute(program, "place", 2, gl.FLOAT, false);
    gl.bufferData(gl.ARRAY_BUFFER, this.places, gl.STATIC_DRAW);
    this.colourBuffer = this.#attribute(program, "colour", 4, gl.UNSIGNED_BYTE, true);
    this.orderBuffer = gl.createBuffer();
    this.chosenBuffer = gl.createBuffer();
  }

  #attribute(program, name, parts, type, normalised) {
    const { gl } = this;
    const buffer = gl.createBuffer();
    const place = gl.getAttribLocation(program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, parts, type, normalised, 0, 0);
    return buffer;
  }
}

class FlatPainter {
  isGl = false;

  constructor(context, xs, ys) {
    Object.assign(this, { context, xs, ys, chosen: new Uint32Array(0), byColour: new Map() });
  }

  /** Points of a colour are drawn together: to change it costs more than to draw. */
  colour(colours, order) {
    this.byColour = new Map();
    for (const at of order) {
      if (!colours[4 * at + 3]) continue;
      const colour = `rgb(${colours[4 * at]} ${colours[4 * at + 1]} ${colours[4 * at + 2]})`;
      if (!this.byColour.has(colour)) this.byColour.set(colour, []);
      this.byColour.get(colour).push(at);
    }
  }

  choose(indices) {
    this.chosen = indices;
  }

  paint(view, ratio, ink) {
    const { context } = this;
    const size = sizeOf(this.xs.length, view.zoom);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, view.width, view.height);
    context.fillStyle = `rgb(${ink.join(" ")})`;
    this.#squares(view, this.chosen, size + RING);
    for (const [colour, some] of this.byColour) {
      context.fillStyle = colour;
      this.#squares(view, some, size);
    }
  }

  #squares(view, some, size) {
    for (const at of some) {
      const [x, y] = view.toScreen(this.xs[at], this.ys[at]);
      if (x < -size || y < -size || x > view.width + size || y > view.height + size) continue;
      this.context.fillRect(x - size / 2, y - size / 2, size, size);
    }
  }
}
