/** The grid: a page of images in groups, all of a group answered with one key except those that are marked. */

import { FlagNote } from "./asking.js";
import { Clock } from "./clock.js";
import { byId, embedded } from "./dom.js";
import { Unreachable, post } from "./http.js";
import { listen } from "./keys.js";
import { AWAY_MS, Leases, leaseOf } from "./leases.js";
import { announce, flash, onPress, toast } from "./notices.js";
import { Outbox, newKey } from "./outbox.js";
import { OFFLINE, SENDING, SIGNED_OUT, STARTING, describe, showPause } from "./pause.js";
import { ClassSearch } from "./search.js";
import { Sheet } from "./sheet.js";
import { Tally } from "./tally.js";
import { _, ngettext } from "./words.js";

const AT_ONCE = matchMedia("(max-width: 760px)").matches ? 24 : 60;
const ASK_AGAIN_MS = 2_000;
const STEPS_KEPT = 10;
const MOST_SET_ASIDE = 1000;

const page = embedded("page");
const base = `/v1/projects/${page.project}`;
const classes = new Map(page.classes.map((one) => [one.id, one]));
const name = (classId) => classes.get(classId).name;
const asideName = `winnow.aside.${page.project}`;

const clock = new Clock();
const leases = new Leases(page.project);
const sheet = new Sheet(byId("groups"), classes, badgeOf);
const outbox = await Outbox.open(page.project, page.user, {
  changed: onOutboxChanged,
  sent: onSent,
  refused: onRefused,
  signedOut: onSignedOut,
});
const tally = new Tally(outbox, clock);
const flagNote = new FlagNote(flag);
const search = new ClassSearch(page.classes, (classId) => file(classId));

let why = STARTING;
let aside = JSON.parse(sessionStorage.getItem(asideName) ?? "[]"); // seen here, and left to be answered one by one
let done = new Set(outbox.leases.map(nameOf));
let steps = []; // what was done, to be taken back: {key, answers, tiles, aside}
let blind = false;
let suggested = false;
let asking = false;
let busy = false;
let lastSeen = Date.now();

function nameOf({ task_id, fence }) {
  return `${task_id}:${fence}`;
}

/** With two classes what is not the one is the other. */
function otherThan(classId) {
  return classId !== null && classes.size === 2 ? [...classes.keys()].find((id) => id !== classId) : null;
}

function badgeOf(group) {
  if (group.class_id === null) return "";
  const other = otherThan(group.class_id);
  return other === null ? _("not this") : `→ ${name(other)}`;
}

// What the annotator does

/** All that is not marked in these groups is what the model says; what is marked is the other class, or set aside. */
function confirm(groups) {
  const sure = groups.filter((group) => group && group.class_id !== null);
  if (busy) return;
  if (!sure.length) {
    toast(_("These images are in no class yet: mark some and press the key of their class."));
    return;
  }
  flash(byId("confirm"));
  const answers = [];
  const setAside = [];
  for (const { class_id, tiles } of sure) {
    for (const tile of tiles) {
      const chosen = tile.marked ? otherThan(class_id) : class_id;
      if (chosen === null) setAside.push(tile);
      else answers.push([tile, chosen]);
    }
  }
  take(answers, setAside);
  announce(sure.map((group) => `${name(group.class_id)} confirmed`).join(", "));
}

/** The marked images are of this class, whatever group they lie in. */
function file(classId) {
  const marked = sheet.marked;
  if (busy) return;
  if (!marked.length) {
    toast(_("Mark the images that are %(name)s first: click them, or use the arrows and Space.", { name: name(classId) }));
    return;
  }
  flash(byId("classes").querySelector(`[data-class="${classId}"]`));
  take(marked.map((tile) => [tile, classId]), []);
  announce(ngettext("%(num)s image filed under %(name)s.", "%(num)s images filed under %(name)s.", marked.length, { name: name(classId) }));
}

function take(answered, setAside) {
  const each = answered.length ? Math.round(clock.lap() / answered.length) : 0;
  const answers = answered.map(([tile, class_id]) => ({ ...leaseOf(tile), key: newKey(), class_id, duration_ms: each }));
  const tiles = [...answered.map(([tile]) => tile), ...setAside];
  const key = answers.length ? outbox.add({ kind: "answers", answers }).key : null;
  for (const tile of tiles) done.add(nameOf(tile));
  if (setAside.length) {
    setAsideTo([...aside, ...setAside.map((tile) => tile.task_id)]);
    leases.giveBack(setAside);
  }
  const step = { key, answers, tiles: answered.map(([tile]) => tile), aside: setAside.map((tile) => tile.task_id) };
  steps = [...steps, step].slice(-STEPS_KEPT);
  tally.add(answers.length);
  sheet.remove(tiles);
  clock.begin();
  why = SENDING;
  draw();
  fill();
}

function setAsideTo(ids) {
  aside = ids.slice(-MOST_SET_ASIDE);
  sessionStorage.setItem(asideName, JSON.stringify(aside));
}

/** Take the last step back, all of its answers; what it set aside may come here again. */
async function undo() {
  const step = steps.at(-1);
  if (busy) return;
  if (!step) {
    toast(_("There is nothing here to take back. One by one takes older answers back."));
    return;
  }
  busy = true;
  flash(byId("undo"));
  draw();
  try {
    const tiles = await undone(step);
    if (tiles) {
      steps = steps.filter((one) => one !== step);
      setAsideTo(aside.filter((id) => !step.aside.includes(id)));
      tally.remove(tiles.length);
      for (const tile of tiles) done.delete(nameOf(tile));
      sheet.restore(tiles);
      announce(ngettext("%(num)s answer taken back.", "%(num)s answers taken back.", tiles.length));
    }
  } finally {
    busy = false;
    draw();
  }
}

async function undone(step) {
  if (!step.key || outbox.withdraw(step.key)) return step.tiles;
  if (outbox.has(step.key)) await outbox.attemptEnded();
  if (outbox.has(step.key)) {
    toast(_("These answers are being sent. Take them back when the connection is there again."));
    return null;
  }
  const ids = step.answers.map((one) => one.annotation_id).filter(Boolean);
  try {
    if (!ids.length) return [];
    const result = await post(`${base}/undo-many`, { annotation_ids: ids });
    if (result.status === 401) onSignedOut();
    if (!result.ok) return toast(result.data.detail ?? _("These answers can't be taken back.")) ?? null;
    const known = new Map(step.tiles.map((tile) => [tile.task_id, tile]));
    return result.data.tasks.map((task) => ({ ...known.get(task.task_id), ...task }));
  } catch (error) {
    if (!(error instanceof Unreachable)) throw error;
    toast(_("Taking back needs the connection. Try again in a moment."));
    return null;
  }
}

function flag(note) {
  outbox.add({ kind: "flag", image_id: sheet.focused?.image.id ?? flagNote.image, note });
  toast(_("Flagged for whoever leads the project."));
}

function openFlag() {
  if (!sheet.focused) return toast(_("Go to an image with the arrows first."));
  flagNote.image = sheet.focused.image.id;
  return flagNote.open();
}

async function changeBlind() {
  blind = !blind;
  byId("blind").setAttribute("aria-pressed", String(blind));
  const held = sheet.tiles;
  sheet.fill([]);
  if (held.length) await leases.giveBack(held);
  draw();
  await fill();
}

// Where the images come from

async function fill() {
  if (asking || sheet.tiles.length) return;
  clearTimeout(fill.again);
  asking = true;
  try {
    const mark = tally.moves;
    const wanted = Math.min(100, AT_ONCE + outbox.leases.length);
    takePage(await post(`${base}/grid`, { count: wanted, blind, without: aside }), mark);
  } catch (error) {
    if (!(error instanceof Unreachable)) throw error;
    why = OFFLINE;
  } finally {
    asking = false;
  }
  draw();
  if (!sheet.tiles.length) fill.again = setTimeout(fill, ASK_AGAIN_MS);
}

function takePage(result, mark) {
  if (result.status === 401) return onSignedOut();
  if (!result.ok) return void (why = { title: _("Something is wrong"), text: result.data.detail ?? `error ${result.status}` });
  suggested = result.data.suggested;
  tally.learn(result.data.progress, mark);
  const fresh = result.data.tiles.filter((tile) => !done.has(nameOf(tile))).slice(0, AT_ONCE);
  sheet.fill(fresh);
  clock.begin();
  why = fresh.length ? STARTING : describe(result.data.waiting, page.project);
  if (!fresh.length && aside.length && result.data.waiting) why = withAside(why);
  return undefined;
}

function withAside(reason) {
  const text = `${reason.text} ${ngettext("%(num)s image that you marked waits to be seen one by one.", "%(num)s images that you marked wait to be seen one by one.", aside.length)}`;
  return { ...reason, text: text.trim() };
}

async function renew() {
  if (Date.now() - lastSeen > AWAY_MS) return;
  const held = [...sheet.tiles, ...outbox.leases];
  if (!held.length) return;
  const gone = await leases.renew(held);
  const lost = gone ? sheet.tiles.filter((tile) => gone.has(tile.task_id)) : [];
  if (!lost.length) return;
  sheet.remove(lost);
  toast(ngettext("%(num)s image went to somebody else, as nobody was here.", "%(num)s images went to somebody else, as nobody was here.", lost.length));
  draw();
  fill();
}

// What is shown

function draw() {
  const empty = !sheet.tiles.length;
  byId("sheet").setAttribute("aria-busy", String(empty));
  byId("sheet").classList.toggle("free", !suggested);
  showPause(empty ? why : STARTING);
  const group = sheet.present;
  const named = group && group.class_id !== null;
  byId("confirm").hidden = !suggested;
  byId("confirm").disabled = busy || !named;
  byId("confirm-text").textContent = named ? _("The rest are %(name)s", { name: name(group.class_id) }) : _("Confirm");
  byId("how").textContent = suggested
    ? _("Mark what the model got wrong, then confirm. A class key files what is marked.")
    : _("Mark images, then press the key of their class.");
  for (const button of byId("classes").children) button.disabled = empty || busy;
  tally.draw();
}

// What the service says

function onOutboxChanged() {
  tally.moves += 1;
  tally.drawSent();
}

function onSent(entry, data) {
  if (entry.kind !== "answers") return;
  const ids = new Map(data.outcomes.map((one) => [one.key, one]));
  const step = steps.find((one) => one.key === entry.key);
  for (const answer of step?.answers ?? []) answer.annotation_id = ids.get(answer.key)?.annotation_id;
  const lost = data.outcomes.filter((one) => one.outcome === "lost" || one.outcome === "refused").length;
  if (!lost) return;
  tally.remove(lost);
  toast(ngettext("%(num)s answer came too late: the image had gone to somebody else.", "%(num)s answers came too late: the images had gone to somebody else.", lost));
  draw();
}

function onRefused(entry, status, detail) {
  tally.remove(entry.answers?.length ?? 0);
  toast(_("That was refused: %(why)s", { why: detail }));
  draw();
}

function onSignedOut() {
  why = SIGNED_OUT;
  sheet.fill([]);
  draw();
}

// Beginning

for (const button of byId("classes").children) onPress(button, () => file(Number(button.dataset.class)));
const presses = {
  undo, blind: changeBlind, search: () => search.open(), help: () => byId("help").showModal(),
  confirm: () => confirm([sheet.present]),
};
for (const button of document.querySelectorAll("[data-press]")) onPress(button, presses[button.dataset.press]);
byId("groups").addEventListener("focusin", () => draw());
const go = (dx, dy, extend) => () => sheet.go(dx, dy, extend);
listen(
  page.classes,
  file,
  {
    Enter: presses.confirm, "shift+Enter": () => confirm(sheet.groups), " ": () => sheet.toggleFocused(),
    Backspace: undo, "/": presses.search, "?": presses.help, m: changeBlind, f: openFlag,
    a: () => sheet.markAll(), Escape: () => sheet.clear(),
    ArrowLeft: go(-1, 0, false), ArrowRight: go(1, 0, false), ArrowUp: go(0, -1, false), ArrowDown: go(0, 1, false),
    "shift+ArrowLeft": go(-1, 0, true), "shift+ArrowRight": go(1, 0, true),
    "shift+ArrowUp": go(0, -1, true), "shift+ArrowDown": go(0, 1, true),
  },
  ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "shift+ArrowLeft", "shift+ArrowRight", "shift+ArrowUp", "shift+ArrowDown"],
);
for (const kind of ["keydown", "pointerdown"]) addEventListener(kind, () => (lastSeen = Date.now()), { capture: true });
setInterval(renew, (page.lease_seconds * 1000) / 3);
addEventListener("online", () => fill());
addEventListener("pagehide", () => leases.leave(sheet.tiles));
addEventListener("pageshow", (event) => event.persisted && location.reload());
document.addEventListener("visibilitychange", () => !document.hidden && renew());
tally.answered = outbox.size;
draw();
await leases.giveBackRemembered();
await fill();
