/** The review pages: labels held against a model, on the diagonal picture or as a list of the likeliest wrong. */

import { byId, embedded, show } from "./dom.js";
import { Unreachable, get, post } from "./http.js";
import { listen } from "./keys.js";
import { announce, flash, onPress, toast } from "./notices.js";
import { Gallery } from "./review_gallery.js";
import { Matrix } from "./review_matrix.js";
import { Picture } from "./review_picture.js";
import { Sender } from "./review_sender.js";
import { fine, say } from "./review_words.js";
import { ClassSearch } from "./search.js";
import { listenForTags } from "./tagging.js";

const AT_ONCE = 60;
const AGAIN_MS = 3_000;
const REDRAW_MS = 400;
const NARROW = matchMedia("(max-width: 760px)");

const page = embedded("page");
const base = `/v1/projects/${page.project}/review`;
const classes = new Map(page.classes.map((one) => [one.id, one]));
const gallery = new Gallery(byId("shots"), page.project, classes, { decided: decide, changed: drawBar, proposed });
const search = new ClassSearch(page.classes, (classId) => file(classId));
const sender = await Sender.open(page, recorded);
sender.restore = (shots) => {
  show(byId("gallery"), true);
  gallery.add(shots.map(({ item: _, button: __, ...shot }) => shot), true);
};

let waiting = []; // ids of images of the cell or the lasso that are not shown yet

/** What the service answers, or null where it does not: it says so, and calls again by itself. */
async function ask(call, again) {
  clearTimeout(ask.timer);
  try {
    const result = await call();
    if (result.ok) {
      show(byId("trouble"), false);
      return result.data;
    }
    trouble(say("load_failed", { detail: result.data.detail ?? result.status }));
    if (result.status < 500 && result.status !== 429) return null;
  } catch (error) {
    if (!(error instanceof Unreachable)) throw error;
    trouble(say("offline"));
  }
  ask.timer = setTimeout(again, AGAIN_MS);
  return null;
}

function trouble(text) {
  byId("trouble").textContent = text;
  show(byId("trouble"), true);
}

// What the reviewer does

function decide(shots, classOf) {
  if (!shots.length) return;
  const some = shots.slice(0, page.most);
  const chosen = new Set(some.map(classOf));
  const kept = some.every((shot) => classOf(shot) === shot.given);
  const one = chosen.size === 1 ? say("done_now", { name: classes.get([...chosen][0]).name }) : say("done_some");
  sender.decide(some, classOf);
  gallery.remove(some);
  const text = say("done", { count: some.length, text: kept ? say("done_kept") : one });
  toast(text);
  announce(text);
  follow();
}

/** On the diagonal nothing is proposed; a label that is in doubt for all that may be the next class. */
function proposed(shot) {
  return page.way === "diagonal" ? shot.said : shot.suggested;
}

const take = () => decide(gallery.targets, proposed);
const keep = () => decide(gallery.targets, (shot) => shot.given);

function file(classId) {
  flash(byId("classes").querySelector(`[data-class="${classId}"]`));
  decide(gallery.targets, () => classId);
}

/** What the service answers to something that isn't kept for later, or null where it can't be: then it says why. */
async function now(path, body, offline) {
  try {
    const result = await post(path, body);
    if (result.ok) return result.data;
    toast(say("refused", { detail: result.data.detail ?? result.status }));
  } catch (error) {
    if (!(error instanceof Unreachable)) throw error;
    toast(say(offline));
  }
  return null;
}

const targetIds = () => gallery.targets.slice(0, page.most).map((shot) => shot.id);

/** Another person is asked about these, who sees nothing of the label; the images stay here. */
async function askAnother() {
  const image_ids = targetIds();
  if (!image_ids.length) return;
  const data = await now(`/v1/projects/${page.project}/second-opinions`, { image_ids }, "second_offline");
  if (!data) return;
  const count = data.asked.length;
  toast(count ? say("second", { count }) : say("second_none"));
  gallery.clear();
}

/** A tag is put on these, or taken off them; whether that was done. They stay here, marked, to be decided on. */
async function retag(action, name) {
  const image_ids = targetIds();
  const data = image_ids.length ? await now(`${base}/${action}`, { image_ids, tag: name }, "tag_offline") : null;
  if (!data) return false;
  const count = data.image_ids.length;
  toast(count ? say(`${action}ged`, { count, name }) : say(`${action}ged_none`, { name }));
  if (document.activeElement === byId("tag")) focusImage();
  return true;
}

const focusImage = () => gallery.present?.button.focus({ focusVisible: true });

function markAll() {
  gallery.markAll(page.most);
  if (gallery.shots.length > page.most) toast(say("most", { count: page.most }));
}

function openImage() {
  const shot = gallery.present;
  if (shot) window.open(`/projects/${page.project}/images/${shot.id}/details`, "_blank", "noopener");
}

function drawBar() {
  const { marked } = gallery;
  const unmarked = NARROW.matches ? "tap" : "present";
  const text = marked.length ? say("marked", { count: marked.length }) : say(gallery.present ? unmarked : "nothing");
  if (byId("chosen").textContent !== text) byId("chosen").textContent = text;
  byId("bar").classList.toggle("busy", marked.length > 0);
}

// The diagonal

const diagonal = page.way === "diagonal" ? against() : null;

function against() {
  const picture = new Picture(byId("picture"), page.classes, { cell: openCell, lasso: openLasso });
  const matrix = new Matrix(byId("matrix"), page.classes, (cell) => picture.words(cell), openCell);
  return { picture, matrix };
}

async function loadDiagonal() {
  const data = await ask(() => get(`${base}/diagonal`), loadDiagonal);
  if (!data) return;
  show(byId("no-model"), !data.model);
  show(byId("against"), data.model);
  const off = data.images - data.agreed;
  byId("standing").textContent = data.model
    ? `${say("agree", { agreed: data.agreed, images: data.images, off, share: fine(data.agreed, data.images) })} ${say("seen", { seen: data.unseen })}`
    : "";
  if (!data.model) return;
  diagonal.picture.fill(data);
  diagonal.matrix.fill(data.counts);
}

async function openCell(given, said) {
  mark([given, said]);
  const [from, to] = [page.classes[given].id, page.classes[said].id];
  const data = await ask(() => get(`${base}/cell?given=${from}&said=${to}`), () => openCell(given, said));
  if (data) await open(diagonal.picture.words([given, said]), data.images);
}

async function openLasso(ids) {
  mark(null);
  if (!ids.length) return toast(say("lasso_empty"));
  return open(say("lasso", { count: ids.length }), ids);
}

function mark(cell) {
  diagonal.picture.choose(cell);
  diagonal.matrix.mark(cell);
}

async function open(title, ids) {
  const away = new Set(sender.onTheWay);
  waiting = ids.filter((id) => !away.has(id));
  gallery.fill([]);
  byId("gallery-title").textContent = title;
  show(byId("gallery"), true);
  await showMore();
  byId("gallery").scrollIntoView({ block: "start", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  if (gallery.present) gallery.present.button.focus({ preventScroll: true, focusVisible: true });
  else byId("gallery-title").focus({ preventScroll: true });
}

async function showMore() {
  const next = waiting.slice(0, AT_ONCE);
  if (next.length) {
    const data = await ask(() => post(`${base}/images`, { images: next }), showMore);
    if (!data) return;
    waiting = waiting.slice(next.length);
    gallery.add(data.shots);
  }
  drawMore(waiting.length);
}

function drawMore(left) {
  show(byId("more"), left > 0);
  byId("more").textContent = say("more", { count: Math.min(AT_ONCE, left) });
}

// The likeliest wrong

async function loadDoubts() {
  const without = [...gallery.shots.map((shot) => shot.id), ...sender.onTheWay];
  const data = await ask(() => post(`${base}/doubts`, { count: AT_ONCE, without }), loadDoubts);
  if (!data) return;
  show(byId("no-model"), !data.model);
  gallery.add(data.shots);
  const left = Math.max(0, data.left - sender.onTheWay.length);
  const none = data.model && !gallery.shots.length;
  show(byId("gallery"), !none && data.model);
  show(byId("no-doubts"), none);
  show(byId("none-checked"), none && !data.checked);
  show(byId("none-found"), none && data.checked > 0);
  const parts = [left ? say("left", { left, count: left }) : say("left_none"), say("checked", data)];
  if (data.looked_at) parts.push(say("looked", { count: data.looked_at }));
  byId("standing").textContent = data.model ? parts.join(" ") : "";
  drawMore(Math.max(0, data.left - gallery.shots.length - sender.onTheWay.length));
}

// What follows a decision

function follow() {
  if (gallery.shots.length >= AT_ONCE / 3) return;
  if (page.way === "doubts") loadDoubts();
  else if (waiting.length) showMore();
  else if (!gallery.shots.length) byId("gallery-title").textContent = say("all_done");
}

/** Points move and numbers change when the service has taken a decision; soon, and once for several. */
function recorded() {
  clearTimeout(recorded.timer);
  recorded.timer = setTimeout(page.way === "doubts" ? loadDoubts : loadDiagonal, REDRAW_MS);
}

// Beginning

const presses = {
  take, keep, second: askAnother, undo: () => sender.undo(), all: markAll, none: () => gallery.clear(),
  search: () => search.open(), help: () => byId("help").showModal(),
};
for (const button of document.querySelectorAll("[data-press]")) onPress(button, presses[button.dataset.press]);
for (const button of document.querySelectorAll("#classes [data-class]")) onPress(button, () => file(Number(button.dataset.class)));
listenForTags(retag);
byId("tag").addEventListener("keydown", (event) => event.key === "Escape" && focusImage());
byId("more").addEventListener("click", page.way === "doubts" ? loadDoubts : showMore);
const go = (dx, dy, extend) => () => gallery.go(dx, dy, extend);
listen(
  page.classes,
  file,
  {
    Enter: take, k: keep, s: askAnother, t: () => byId("tag").focus(), "shift+Enter": keep, Backspace: presses.undo, " ": () => gallery.toggle(), a: markAll, Escape: presses.none,
    "/": presses.search, "?": presses.help, o: openImage,
    ArrowLeft: go(-1, 0, false), ArrowRight: go(1, 0, false), ArrowUp: go(0, -1, false), ArrowDown: go(0, 1, false),
    "shift+ArrowLeft": go(-1, 0, true), "shift+ArrowRight": go(1, 0, true),
    "shift+ArrowUp": go(0, -1, true), "shift+ArrowDown": go(0, 1, true),
  },
  ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "shift+ArrowLeft", "shift+ArrowRight", "shift+ArrowUp", "shift+ArrowDown"],
);
await (diagonal ? loadDiagonal() : loadDoubts());
