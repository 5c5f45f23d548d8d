/** The labelling page: one image, one key, the next image. */

import { FlagNote, PassOn } from "./asking.js";
import { Clock } from "./clock.js";
import { afterPaint, byId, embedded, show } from "./dom.js";
import { Guide } from "./guide.js";
import { Unreachable, post } from "./http.js";
import { ALONG, Keeper } from "./keeper.js";
import { listen } from "./keys.js";
import { Light } from "./light.js";
import { LookBack } from "./lookback.js";
import { announce, flash, onPress, toast } from "./notices.js";
import { Held } from "./offline.js";
import { Outbox } from "./outbox.js";
import { BROKEN, OFFLINE, SENDING, SIGNED_OUT, STARTING, describe, showPause } from "./pause.js";
import { Recent } from "./recent.js";
import { ClassSearch } from "./search.js";
import { Stage } from "./stage.js";
import { Tally } from "./tally.js";
import { _, ngettext } from "./words.js";

const page = embedded("page");
const names = new Map(page.classes.map((one) => [one.id, one.name]));
const percent = (share) => `${Math.round(100 * share)}%`;

const clock = new Clock();
const stage = new Stage(byId("canvas"));
const light = new Light(page.project, byId("canvas"), stage);
const guide = new Guide(page.project, page.classes);
const recent = new Recent(page.project, byId("recent"), byId("recent-list"), page.classes, takeBack);
const lookBack = new LookBack(recent, () => draw());
const outbox = await Outbox.open(page.project, page.user, {
  changed: onOutboxChanged,
  wanted: () => keeper.wanted(),
  sent: (entry, data) => {
    recent.recorded(entry.key, data.annotation_id);
    keeper.sent(data.next);
  },
  delayed: () => keeper.fill(),
  refused: onRefused,
  signedOut: onSignedOut,
});
const tally = new Tally(outbox, clock);
const keeper = new Keeper(page.project, page.lease_seconds, outbox, new Held(page.project, page.user), {
  changed: () => draw(),
  mark: () => tally.moves,
  progress: (news, mark) => tally.learn(news, mark),
  waiting: (waiting) => (why = describe(waiting, page.project)),
  unreachable: () => (why = OFFLINE),
  signedOut: onSignedOut,
  failed: (detail) => (why = { title: _("Something is wrong"), text: detail }),
  lost: (lost) => toast(ngettext("%(num)s image went to somebody else, as nobody was here.", "%(num)s images went to somebody else, as nobody was here.", lost)),
});
const passOn = new PassOn(skip);
const flagNote = new FlagNote(flag);
const search = new ClassSearch(page.classes, (classId) => answer(classId));

let why = STARTING;
let shown = null;
let busy = false;

// What the annotator does

function answer(classId) {
  if (lookBack.current) return change(classId);
  if (busy || keeper.current?.look !== "ready" || shown !== keeper.current) return undefined;
  flash(buttonOf(classId));
  const { task_id, fence, image, lease_until, picture, look } = keeper.shift();
  const entry = outbox.add({ kind: "answer", task_id, fence, image, lease_until, class_id: classId, duration_ms: clock.lap() });
  recent.add({ ...entry, picture, look });
  tally.add(1);
  announce(`${names.get(classId)}.`);
  return goOn();
}

/** Another class for the answer that is looked back at. */
function change(classId) {
  const past = lookBack.current;
  if (busy || past.class_id === classId) return;
  flash(buttonOf(classId));
  const { key, kind, task_id, fence, image, lease_until, duration_ms } = past;
  const unsent = kind === "answer" && outbox.withdraw(key);
  const entry = unsent
    ? outbox.add({ kind, task_id, fence, image, lease_until, class_id: classId, duration_ms })
    : outbox.add({ kind: "change", annotation_id: past.annotation_id, of: past.annotation_id ? null : key, class_id: classId, before: past.class_id });
  Object.assign(past, { key: entry.key, kind: entry.kind, class_id: classId, annotation_id: undefined });
  recent.draw();
  announce(_("Changed to %(name)s.", { name: names.get(classId) }));
  draw();
}

function skip(way = "later", reason = "") {
  if (lookBack.current) return lookBack.leave();
  if (busy || !keeper.current || keeper.current.look === "loading") return undefined;
  flash(byId("skip"));
  const { task_id, fence } = keeper.shift();
  outbox.add({ kind: "skip", task_id, fence, way, reason });
  announce(way === "later" ? _("Skipped.") : _("Passed on."));
  return goOn();
}

function flag(note) {
  const on = lookBack.current ?? keeper.current;
  if (!on) return;
  outbox.add({ kind: "flag", image_id: on.image.id, note });
  toast(_("Flagged for whoever leads the project."));
}

const undo = () => takeBack(lookBack.current ?? recent.newest);

/** Bring an answered image back; without `chosen` the newest that the service knows of. */
async function takeBack(chosen) {
  if (busy) return;
  busy = true;
  draw();
  flash(byId("undo"));
  try {
    const task = await undone(chosen);
    if (task) {
      if (chosen) recent.remove(chosen.key);
      lookBack.leave();
      tally.remove(1);
      keeper.putFirst(task);
      announce(chosen ? _("%(name)s taken back.", { name: names.get(chosen.class_id) }) : _("Answer taken back."));
    }
  } finally {
    busy = false;
    draw();
  }
}

/** The task of an answer that was taken back, or null with a word to the annotator. */
async function undone(chosen) {
  if (chosen?.kind === "answer" && outbox.withdraw(chosen.key)) return chosen;
  if (chosen && outbox.has(chosen.key)) await outbox.attemptEnded();
  if (chosen && outbox.has(chosen.key)) {
    toast(_("That answer is being sent. Take it back when the connection is there again."));
    return null;
  }
  try {
    const result = await post(`/v1/projects/${page.project}/undo`, { annotation_id: chosen?.annotation_id ?? null });
    if (result.ok) return result.data.task;
    if (result.status === 401) onSignedOut();
    else toast(result.data.detail ?? _("That answer can't be taken back."));
    if (chosen && result.status === 409 && chosen.kind === "answer") recent.remove(chosen.key);
  } catch (error) {
    if (!(error instanceof Unreachable)) throw error;
    toast(_("Taking back needs the connection. Try again in a moment."));
  }
  return null;
}

/** What the model thinks: asked for only now, and from now on the answer says that it was seen. */
async function suggest() {
  const task = keeper.current;
  if (!page.suggestions || lookBack.current || task?.look !== "ready" || task.thought) return;
  try {
    const result = await post(`/v1/projects/${page.project}/tasks/${task.task_id}/suggestion`, { fence: task.fence });
    if (!result.ok) return toast(result.data.detail ?? _("There is no suggestion."));
    const thought = result.data.suggestion;
    task.thought = thought ? _("The model says %(name)s, %(share)s sure", { name: names.get(thought.class_id), share: percent(thought.confidence) }) : _("The model has no suggestion for this image");
    announce(task.thought);
    draw();
  } catch (error) {
    if (!(error instanceof Unreachable)) throw error;
    toast(_("A suggestion needs the connection."));
  }
  return undefined;
}

async function takeAlong() {
  const many = keeper.ahead !== ALONG;
  byId("along").setAttribute("aria-pressed", String(many));
  await keeper.takeAlong(many);
  draw();
}

function goOn() {
  why = outbox.size ? SENDING : STARTING;
  draw();
  if (!outbox.size) afterPaint(() => keeper.fill()); // else more is asked for along with what is sent
}

// What is shown

function draw() {
  const past = lookBack.current;
  const task = past ?? keeper.current;
  const ready = task?.look === "ready";
  if (ready && !past && task !== shown) {
    clock.begin();
    shown = task;
  }
  clock.hold(past !== null);
  stage.show(ready ? task.picture : null);
  byId("stage").setAttribute("aria-busy", String(!ready));
  byId("stage").classList.toggle("loading", task?.look === "loading");
  if (task?.look === "broken") showPause(BROKEN);
  else if (task) show(byId("pause"), false);
  else showPause(why);
  for (const button of byId("classes").children) {
    button.disabled = !ready || busy;
    button.classList.toggle("given", Number(button.dataset.class) === past?.class_id);
  }
  byId("skip").disabled = !keeper.current || busy;
  drawRibbon(past, task);
  byId("along-text").textContent = keeper.ahead === ALONG ? ngettext("%(num)s image here", "%(num)s images here", keeper.ready) : _("Take %(number)s along", { number: ALONG });
  tally.draw();
}

/** The line above the image: what is looked back at, or what the model thinks. */
function drawRibbon(past, task) {
  const ago = past && (lookBack.ago === 1 ? _("Your last answer") : _("%(number)s answers ago", { number: lookBack.ago }));
  const text = past ? _("%(when)s: %(name)s. A class changes it, → goes on.", { when: ago, name: names.get(past.class_id) }) : task?.thought;
  show(byId("ribbon"), Boolean(text));
  byId("ribbon").textContent = text ?? "";
}

const buttonOf = (classId) => byId("classes").querySelector(`[data-class="${classId}"]`);

// What the service says

function onOutboxChanged() {
  tally.moves += 1;
  tally.drawSent();
}

function onRefused(entry, status, detail) {
  keeper.fill();
  if (entry.kind === "skip") return; // it went to somebody else meanwhile, which is what was wanted
  if (entry.kind === "flag") {
    toast(_("The flag was refused: %(why)s", { why: detail }));
  } else if (entry.kind === "change") {
    const past = recent.find(entry.key);
    if (past) past.class_id = entry.before;
    recent.draw();
    toast(_("That answer could not be changed: somebody has decided on the image since."));
  } else {
    recent.remove(entry.key);
    tally.remove(1);
    toast(status === 409 ? _("One answer came too late: the image had gone to somebody else.") : _("One answer was refused: %(why)s", { why: detail }));
  }
  draw();
}

function onSignedOut() {
  why = SIGNED_OUT;
  keeper.queue = [];
  lookBack.leave();
  draw();
}

// Beginning

const unsent = outbox.entries.filter((one) => one.kind === "answer");
for (const entry of unsent) recent.add({ ...entry });
tally.answered = unsent.length;

for (const button of byId("classes").children) onPress(button, () => answer(Number(button.dataset.class)));
const open = (dialog) => () => keeper.current && dialog.open();
const help = () => byId("help").showModal();
const presses = {
  undo, suggest, help, skip: () => skip(), pass: open(passOn), flagged: open(flagNote), along: takeAlong,
  search: () => search.open(), guide: () => guide.toggle(), light: () => light.toggle(),
  closer: () => stage.zoom(1), farther: () => stage.zoom(-1), turn: () => stage.turn(), reset: () => stage.reset(),
  older: () => lookBack.older(), newer: () => lookBack.newer(),
};
for (const button of document.querySelectorAll("[data-press]")) onPress(button, presses[button.dataset.press]);
for (const dialog of document.querySelectorAll("dialog")) dialog.addEventListener("close", () => document.activeElement?.blur());
listen(
  page.classes,
  answer,
  {
    Backspace: undo, " ": presses.skip, "shift+ ": presses.pass, f: presses.flagged, "/": presses.search, "?": help,
    s: suggest, g: presses.guide, o: takeAlong, l: presses.light, i: () => light.invert(), p: () => light.pixels(),
    b: () => light.step("brightness", 1), "shift+b": () => light.step("brightness", -1),
    c: () => light.step("contrast", 1), "shift+c": () => light.step("contrast", -1),
    "+": presses.closer, "=": presses.closer, "-": presses.farther, r: presses.turn, z: presses.reset,
    "shift+ArrowLeft": () => stage.move(-1, 0), "shift+ArrowRight": () => stage.move(1, 0),
    "shift+ArrowUp": () => stage.move(0, -1), "shift+ArrowDown": () => stage.move(0, 1),
    ArrowLeft: presses.older, ArrowRight: presses.newer, Escape: () => lookBack.leave(),
  },
  ["b", "shift+b", "c", "shift+c", "+", "=", "-", "shift+ArrowLeft", "shift+ArrowRight", "shift+ArrowUp", "shift+ArrowDown"],
);
for (const kind of ["keydown", "pointerdown"]) addEventListener(kind, () => keeper.seen(), { capture: true });
draw();
keeper.start();
