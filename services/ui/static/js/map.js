/** The page of the map: its colours and filters, what lies under the pointer, and what is done to what was chosen. */

import { NONE, groupsBy, isWithin, sheetColours, unpack } from "./atlas.js";
import { byId, embedded, make, setMeter, show } from "./dom.js";
import { Gestures } from "./gestures.js";
import { Unreachable, get, post } from "./http.js";
import { toast } from "./notices.js";
import { painterOf } from "./painter.js";
import { listenForTags } from "./tagging.js";
import { View } from "./view.js";

const LOOK_AGAIN_MS = 1_500;
const NEAR = 12;
const SHOWN = 60;
const page = embedded("page");
const words = embedded("words");
const said = (text, values = {}) =>
  text.replace(/%([a-z]+)/g, (whole, name) => values[name] ?? whole);
const percent = (share) => Math.floor(100 * share + 1e-4).toString();

/** The points, how they are coloured, and which of them are chosen. */
class Chart {
  constructor(points) {
    this.points = points;
    this.canvas = byId("points");
    this.pen = byId("pen").getContext("2d");
    this.view = new View(points.xs, points.ys);
    this.painter = painterOf(this.canvas, points.xs, points.ys);
    this.chosen = new Uint32Array(0);
    this.frame = null;
    this.waiting = false;
    this.gestures = new Gestures(this.canvas, this.view, this);
    new ResizeObserver(() => this.#resize()).observe(byId("view"));
    this.#resize();
    this.group(byId("mode").value);
  }

  group(mode) {
    this.colours = sheetColours();
    this.made = groupsBy(mode, this.points, page, words, this.colours);
    drawLegend(this);
    this.recolour();
  }

  recolour() {
    const { of, groups, none } = this.made;
    const colours = new Uint8Array(4 * this.points.count);
    const order = new Uint32Array(this.points.count);
    let [first, last] = [0, this.points.count];
    for (let at = 0; at < this.points.count; at += 1) {
      const group = groups[of[at]];
      if (group.on) colours.set([...group.colour, 255], 4 * at);
      if (of[at] === none) order[first++] = at;
      else order[--last] = at;
    }
    this.painter.colour(colours, order);
    this.moved();
  }

  isShown(at) {
    return this.made.groups[this.made.of[at]].on;
  }

  choose(indices, more = false) {
    const all = more ? new Set([...this.chosen, ...indices]) : indices;
    this.chosen = Uint32Array.from(all).sort((a, b) => this.points.confidence[a] - this.points.confidence[b]);
    this.painter.choose(this.chosen);
    drawChosen(this);
    this.moved();
  }

  where(test) {
    const found = [];
    for (let at = 0; at < this.points.count; at += 1) if (test(at)) found.push(at);
    return found;
  }

  /** Draw once before the screen is drawn next, however often it is asked for. */
  moved() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.painter.paint(this.view, this.ratio, this.colours.ink);
      this.#drawPen();
    });
  }

  drew(line, more) {
    const around = line.map(([x, y]) => this.view.toMap(x, y));
    const { xs, ys } = this.points;
    this.choose(this.where((at) => this.isShown(at) && isWithin(xs[at], ys[at], around)), more);
  }

  hovered(x, y) {
    drawTip(this, x === null ? null : this.#nearest(x, y));
  }

  tapped(x, y, more) {
    const at = this.#nearest(x, y);
    if (at === null) this.choose(more ? this.chosen : []);
    else this.choose([at], more);
    drawTip(this, at);
  }

  /** Whether the key means something here. */
  key(name) {
    const sizes = { "shift+ArrowLeft": [-1, 0], "shift+ArrowRight": [1, 0], "shift+ArrowUp": [0, 1], "shift+ArrowDown": [0, -1] };
    if (name === "f") toggleFrame(this);
    else if (name === "l") toggleLasso(this);
    else if (name === "Escape") this.frame ? toggleFrame(this) : this.choose([]);
    else if (name === "Enter" && this.frame) this.drew(this.#frameLine(), false);
    else if (sizes[name] && this.frame) {
      this.frame = this.frame.map((size, part) => Math.min(0.98, Math.max(0.06, size + 0.06 * sizes[name][part])));
    } else return false;
    return true;
  }

  #frameLine() {
    const { width, height } = this.view;
    const [w, h] = [(this.frame[0] * width) / 2, (this.frame[1] * height) / 2];
    return [[-w, -h], [w, -h], [w, h], [-w, h]].map(([x, y]) => [width / 2 + x, height / 2 + y]);
  }

  #nearest(px, py) {
    const { xs, ys } = this.points;
    const [x, y] = this.view.toMap(px, py);
    let [best, found] = [(NEAR / this.view.scale) ** 2, null];
    for (let at = 0; at < this.points.count; at += 1) {
      const distance = (xs[at] - x) ** 2 + (ys[at] - y) ** 2;
      if (distance < best && this.isShown(at)) [best, found] = [distance, at];
    }
    return found;
  }

  #resize() {
    const { width, height } = byId("view").getBoundingClientRect();
    this.ratio = Math.min(2, devicePixelRatio);
    for (const canvas of [this.canvas, this.pen.canvas]) {
      canvas.width = Math.round(width * this.ratio);
      canvas.height = Math.round(height * this.ratio);
    }
    this.view.resize(width, height);
    if (this.made) this.moved();
  }

  #drawPen() {
    const { pen, ratio } = this;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, this.view.width, this.view.height);
    const line = this.gestures.line ?? (this.frame && this.#frameLine());
    if (!line) return;
    pen.beginPath();
    line.forEach(([x, y]) => pen.lineTo(x, y));
    pen.closePath();
    pen.strokeStyle = pen.fillStyle = `rgb(${this.colours.ink.join(" ")})`;
    pen.lineWidth = 2;
    pen.setLineDash([6, 4]);
    pen.stroke();
    pen.globalAlpha = 0.06;
    pen.fill();
    pen.globalAlpha = 1;
  }
}

function toggleLasso(map) {
  map.gestures.lasso = !map.gestures.lasso;
  byId("lasso").setAttribute("aria-pressed", map.gestures.lasso);
  byId("view").classList.toggle("drawing", map.gestures.lasso);
}

function toggleFrame(map) {
  map.frame = map.frame ? null : [0.4, 0.4];
  byId("frame").setAttribute("aria-pressed", map.frame !== null);
  if (map.frame) {
    map.canvas.focus();
    toast(words.frame_on);
  }
  map.moved();
}

function drawLegend(map) {
  const rows = map.made.groups.filter((group) => group.count).map((group) => {
    const box = make("input", { type: "checkbox", checked: "" });
    box.addEventListener("change", () => {
      group.on = box.checked;
      map.recolour();
    });
    const chip = make("span", { class: "chip", text: group.name, style: { "--colour": `rgb(${group.colour.join(" ")})` } });
    return make("li", {}, make("label", { class: "check" }, box, chip, make("span", { class: "muted", text: group.count.toLocaleString() })));
  });
  byId("legend").replaceChildren(...rows);
}

function setAll(map, on) {
  for (const group of map.made.groups) group.on = on;
  for (const box of byId("legend").querySelectorAll("input")) box.checked = on;
  map.recolour();
}

const thumb = (id) => `/projects/${page.project}/images/${id}/thumb`;
const takenFor = ({ points }, at) =>
  said(words.takes_for, { name: page.classes[points.predicted[at]].name, n: percent(points.confidence[at]) });
const labelOf = ({ points }, at) =>
  points.labels[at] === NONE ? words.none
    : said(words.labelled, { name: page.classes[points.labels[at]].name, who: words[page.sources[points.sources[at]]] });

function drawTip(map, at) {
  const tip = byId("tip");
  show(tip, at !== null);
  if (at === null) return;
  const [image, label, prediction] = tip.children;
  const source = thumb(map.points.ids[at]);
  if (image.getAttribute("src") !== source) image.src = source;
  label.textContent = labelOf(map, at);
  prediction.textContent = takenFor(map, at);
  const [x, y] = map.view.toScreen(map.points.xs[at], map.points.ys[at]);
  const [right, low] = [x > map.view.width - 200, y > map.view.height - 210];
  tip.style.left = `${right ? x - 14 - tip.offsetWidth : x + 14}px`;
  tip.style.top = `${low ? Math.max(0, y - tip.offsetHeight) : y}px`;
}

function tile(map, at) {
  const id = map.points.ids[at];
  return make("li", { class: "shot" },
    make("a", { href: `/projects/${page.project}/images/${id}/details`, class: "pick" },
      make("img", { src: thumb(id), alt: said(words.image, { n: id }), loading: "lazy", decoding: "async" })),
    make("p", { class: "shot-text" }, make("span", { text: labelOf(map, at) }), make("span", { class: "muted", text: takenFor(map, at) })));
}

function drawChosen(map, shown = SHOWN) {
  const count = map.chosen.length;
  show(byId("chosen-part"), count > 0);
  byId("chosen-title").textContent = count === 1 ? words.chosen_one : said(words.chosen, { n: count.toLocaleString() });
  byId("chosen-note").textContent = count > page.most ? said(words.too_many, { n: page.most.toLocaleString() }) : "";
  byId("shots").replaceChildren(...[...map.chosen.slice(0, shown)].map((at) => tile(map, at)));
  const more = Math.min(SHOWN, count - shown);
  show(byId("more"), more > 0);
  byId("more").textContent = said(words.more, { n: more });
  byId("more").onclick = () => drawChosen(map, shown + SHOWN);
  for (const id of ["label", "ask", "put-tag", "take-tag"]) {
    byId(id).dataset.fixed ??= String(byId(id).disabled);
    byId(id).disabled = byId(id).dataset.fixed === "true" || count > page.most;
  }
}

/** Ask first; true if they mean it. */
function confirmed(title, note) {
  const dialog = byId("sure");
  byId("sure-title").textContent = title;
  byId("sure-note").textContent = note;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** Send what is to be done with the chosen; the points that it was done to, or null. */
async function done(map, action, more) {
  const ids = [...map.chosen].map((at) => map.points.ids[at]);
  try {
    const answer = await post(`/v1/projects/${page.project}/map/${action}`, { image_ids: ids, ...more });
    if (!answer.ok) throw new Error(answer.data.detail ?? answer.status);
    const changed = new Set(answer.data.image_ids);
    return [...map.chosen].filter((at) => changed.has(map.points.ids[at]));
  } catch (error) {
    toast(error instanceof Unreachable ? words.unreachable : said(words.failed, { why: error.message }));
    return null;
  }
}

function relabelled(map, changed, column, source) {
  for (const at of changed) {
    map.points.labels[at] = column;
    map.points.sources[at] = source;
    map.points.rounds[at] = NONE;
  }
  regrouped(map);
}

/** Colour anew; what was hidden stays so. */
function regrouped(map) {
  const hidden = map.made.groups.filter((group) => !group.on).map((group) => group.name);
  map.group(byId("mode").value);
  map.made.groups.forEach((group) => (group.on = !hidden.includes(group.name)));
  [...byId("legend").children].forEach((row) => {
    row.querySelector("input").checked = !hidden.includes(row.querySelector(".chip").textContent);
  });
  map.recolour();
  drawChosen(map);
}

async function label(map) {
  const column = page.classes.findIndex((one) => String(one.id) === byId("class").value);
  if (column < 0) return byId("class").focus();
  const { id, name } = page.classes[column];
  const n = map.chosen.length;
  if (n > 1 && !(await confirmed(said(words.label_many, { n: n.toLocaleString(), name }), words.label_note))) return undefined;
  const changed = await done(map, "label", { class_id: id });
  if (!changed) return undefined;
  relabelled(map, changed, column, page.sources.indexOf("human"));
  return toast(said(words.labelled_done, { n: changed.length.toLocaleString(), name }));
}

async function ask(map) {
  const n = map.chosen.length;
  if (!(await confirmed(n === 1 ? words.ask_one : said(words.ask_many, { n: n.toLocaleString() }), words.ask_note))) return;
  const changed = await done(map, "ask");
  if (!changed) return;
  relabelled(map, changed, NONE, page.sources.length);
  toast(said(words.asked_done, { n: changed.length.toLocaleString() }));
}

/** Put a tag on the chosen, or take it off them; whether that was done. */
async function retag(map, action, name) {
  const changed = await done(map, action, { tag: name });
  if (!changed) return false;
  if (byId("mode").value === "tag" && (await tagsAnew())) regrouped(map);
  const text = changed.length ? words[`${action}ged_done`] : words[`${action}ged_none`];
  toast(said(text, { n: changed.length.toLocaleString(), name }));
  return true;
}

/** Whether the tags could be fetched, as they are now. */
async function tagsAnew() {
  try {
    const answer = await get(`/v1/projects/${page.project}/map/tags`);
    if (!answer.ok) throw new Error(answer.data.detail ?? answer.status);
    page.tags = answer.data;
    return true;
  } catch (error) {
    toast(error instanceof Unreachable ? words.unreachable : said(words.failed, { why: error.message }));
    return false;
  }
}

/** Tags are fetched only when somebody wants to see them. */
async function colourBy(map, mode) {
  if (mode === "tag" && !(await tagsAnew())) byId("mode").value = "label";
  map.group(byId("mode").value);
}

function listen(map) {
  byId("mode").addEventListener("change", () => colourBy(map, byId("mode").value));
  listenForTags((action, name) => retag(map, action, name));
  byId("lasso").addEventListener("click", () => toggleLasso(map));
  byId("frame").addEventListener("click", () => toggleFrame(map));
  const look = { closer: () => map.view.closer(1.5), further: () => map.view.closer(1 / 1.5), whole: () => map.view.whole() };
  for (const [id, action] of Object.entries(look)) {
    byId(id).addEventListener("click", () => {
      action();
      map.moved();
    });
  }
  byId("all-on").addEventListener("click", () => setAll(map, true));
  byId("all-off").addEventListener("click", () => setAll(map, false));
  byId("clear").addEventListener("click", () => map.choose([]));
  byId("label").addEventListener("click", () => label(map));
  byId("ask").addEventListener("click", () => ask(map));
  for (const button of document.querySelectorAll("[data-choose]")) {
    const column = Number(button.dataset.column);
    const below = Number(button.dataset.below ?? 2);
    show(button, true);
    button.addEventListener("click", () => {
      map.choose(map.where((at) => map.points.predicted[at] === column && map.points.confidence[at] < below));
      byId("chosen-part").scrollIntoView({ block: "nearest" });
    });
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => map.group(byId("mode").value));
  show(byId("flat"), !map.painter.isGl);
  if (!map.painter.isGl) byId("flat").textContent = words.flat;
}

async function watchDrawing() {
  const answer = await get(`/v1/projects/${page.project}/map/state`).catch((error) => {
    if (!(error instanceof Unreachable)) throw error;
    return { ok: false };
  });
  const { state, progress } = answer.data ?? {};
  if (answer.ok && state !== "queued" && state !== "running") location.reload();
  else if (answer.ok) {
    byId("drawing-state").textContent = state === "queued" ? words.queued : said(words.running, { n: percent(progress) });
    setMeter(byId("drawing-meter"), progress);
  }
  setTimeout(watchDrawing, LOOK_AGAIN_MS);
}

if (page.drawing) watchDrawing();
if (page.points) {
  const answer = await fetch(page.points, { credentials: "same-origin" });
  if (answer.ok) {
    const map = new Chart(unpack(await answer.arrayBuffer()));
    listen(map);
    byId("view").dataset.ready = map.painter.isGl ? "webgl" : "flat";
  } else toast(said(words.failed, { why: answer.status }));
}
