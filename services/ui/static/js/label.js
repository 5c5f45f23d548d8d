/** The labelling page: one image, one key, the next image. */

import { byId, count, embedded, make, setMeter, show } from "./dom.js";
import { Unreachable, post, signInPath } from "./http.js";
import { Keeper } from "./keeper.js";
import { listen } from "./keys.js";
import { Outbox } from "./outbox.js";
import { Recent } from "./recent.js";
import { Stage } from "./stage.js";

const page = embedded("page");
const names = new Map(page.classes.map((one) => [one.id, one.name]));
const PACE_OVER = 20;
const PACE_AFTER_MS = 10_000;
const PAUSE_MS = 60_000;
const TOAST_MS = 4_000;

const stage = new Stage(byId("canvas"));
const recent = new Recent(byId("recent"), byId("recent-list"), page.classes, takeBack);
const outbox = new Outbox(page.project, page.user, {
  changed: onOutboxChanged,
  sent: (entry, data) => recent.recorded(entry.key, data.annotation_id),
  refused: onRefused,
  signedOut: onSignedOut,
});
const keeper = new Keeper(page.project, page.lease_seconds, outbox, {
  changed: () => draw(),
  mark: () => moves,
  progress: onProgress,
  waiting: (waiting) => (why = describe(waiting)),
  unreachable: () => (why = OFFLINE),
  signedOut: onSignedOut,
  failed: (detail) => (why = { title: "Something is wrong", text: detail }),
  lost: (lost) => toast(`${count(lost, "image")} went to somebody else, as nobody was here.`),
});

const STARTING = { title: "", text: "" };
const OFFLINE = { title: "No connection", text: "Your answers are kept here. This page goes on when the connection is back." };
const SENDING = { title: "Sending your last answers", text: "The next images follow." };
const BROKEN = { title: "This image can't be shown", text: "Skip it to go on." };
const SIGNED_OUT = {
  title: "You were signed out",
  text: "Nothing is lost: sign in again and your answers are sent.",
  action: () => make("a", { class: "button primary", href: signInPath(), text: "Sign in" }),
};

let why = STARTING;
let shownAt = performance.now();
let shown = null;
let answered = 0;
let progress = null;
let answeredSince = 0;
let moves = 0;
let answerTimes = [];
let busy = false;

// What the annotator does

function answer(classId) {
  if (!isAnswerable()) return;
  flash(byId("classes").querySelector(`[data-class="${classId}"]`));
  const { task_id, fence, image, lease_until, picture, look } = keeper.shift();
  const duration_ms = Math.round(performance.now() - shownAt);
  const entry = outbox.add({ kind: "answer", task_id, fence, image, lease_until, class_id: classId, duration_ms });
  recent.add({ ...entry, picture, look });
  tally(1);
  answerTimes = [...answerTimes, performance.now()].slice(-PACE_OVER);
  announce(`${names.get(classId)}.`);
  goOn();
}

function skip() {
  if (busy || !keeper.current || keeper.current.look === "loading") return;
  flash(byId("skip"));
  const { task_id, fence } = keeper.shift();
  outbox.add({ kind: "skip", task_id, fence });
  announce("Skipped.");
  goOn();
}

const undo = () => takeBack(recent.newest);

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
      tally(-1);
      answerTimes.pop();
      keeper.putFirst(task);
      announce(chosen ? `${names.get(chosen.class_id)} taken back.` : "Answer taken back.");
    }
  } finally {
    busy = false;
    draw();
  }
}

/** The task of an answer that was taken back, or null with a word to the annotator. */
async function undone(chosen) {
  if (chosen && outbox.withdraw(chosen.key)) return chosen;
  if (chosen && outbox.has(chosen.key)) await outbox.attemptEnded();
  if (chosen && outbox.has(chosen.key)) {
    toast("That answer is being sent. Take it back when the connection is there again.");
    return null;
  }
  try {
    const result = await post(`/v1/projects/${page.project}/undo`, { annotation_id: chosen?.annotation_id ?? null });
    if (result.ok) return result.data.task;
    if (result.status === 401) onSignedOut();
    else toast(result.data.detail ?? "That answer can't be taken back.");
    if (chosen && result.status === 409) recent.remove(chosen.key);
  } catch (error) {
    if (!(error instanceof Unreachable)) throw error;
    toast("Taking back needs the connection. Try again in a moment.");
  }
  return null;
}

function goOn() {
  why = outbox.size ? SENDING : STARTING;
  draw();
  keeper.fill();
}

const isAnswerable = () => !busy && keeper.current?.look === "ready" && shown === keeper.current;

// What is shown

function draw() {
  const task = keeper.current;
  const ready = task?.look === "ready";
  if (ready && task !== shown) {
    shownAt = performance.now();
    shown = task;
  }
  stage.show(ready ? task.picture : null);
  byId("stage").setAttribute("aria-busy", String(!ready));
  byId("stage").classList.toggle("loading", task?.look === "loading");
  if (task?.look === "broken") showPause(BROKEN);
  else if (task) show(byId("pause"), false);
  else showPause(why);
  for (const button of byId("classes").children) button.disabled = !ready || busy;
  byId("skip").disabled = !task || busy;
  byId("answered").textContent = answered.toLocaleString();
  byId("pace").textContent = pace();
  drawProgress();
  showSent();
}

function showPause({ title, text, fine = "", share = null, action = null }) {
  show(byId("pause"), title !== "");
  byId("pause-title").textContent = title;
  byId("pause-text").textContent = text;
  byId("pause-fine").textContent = fine;
  setMeter(byId("pause-meter"), share);
  byId("pause-action").replaceChildren(...(action ? [action()] : []));
}

/** Why there is no image, with the time at which one returns as it is on this clock. */
function describe(waiting) {
  if (!waiting) return SENDING;
  const parts = [waiting.what];
  if (waiting.held && waiting.next_return) {
    const time = new Date(waiting.next_return).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    parts.push(`${count(waiting.held, "image")} ${waiting.held === 1 ? "is" : "are"} with others; the next returns by ${time}.`);
  }
  const finished = waiting.reason === "finished";
  return {
    title: finished ? "All done. Thank you." : "Nothing to label just now",
    text: parts.filter(Boolean).join(" "),
    fine: finished ? "" : "This page goes on by itself.",
    share: waiting.progress,
    action: () => make("a", { class: "button", href: `/projects/${page.project}`, text: "See the project" }),
  };
}

/** `asked`: what `moves` was when the service was asked. Its count is behind if an answer was on its way since. */
function onProgress(news, asked) {
  if (asked === moves && !outbox.size) answered = news.answered_by_me;
  const sameStep = progress && ["round", "step", "total"].every((key) => progress[key] === news[key]);
  progress = sameStep ? { ...news, done: Math.max(news.done, progress.done + answeredSince) } : news;
  answeredSince = 0;
}

function drawProgress() {
  if (!progress) return;
  const counted = progress.unit === "labels" && progress.total !== null;
  const done = counted ? Math.max(0, Math.min(progress.total, progress.done + answeredSince)) : null;
  const step = counted ? `${done.toLocaleString()} of ${progress.total.toLocaleString()}` : progress.step;
  byId("round-text").textContent = [progress.round === null ? "" : `Round ${progress.round}`, step].filter(Boolean).join(" · ");
  setMeter(byId("round-meter"), counted ? done / progress.total : progress.share);
}

/** One answer more, or one less. */
function tally(change) {
  answered = Math.max(0, answered + change);
  answeredSince += change;
  moves += 1;
}

function pace() {
  const times = answerTimes.filter((at) => performance.now() - at < PAUSE_MS);
  if (times.length < 5) return "";
  const took = times.at(-1) - times[0];
  return took > PACE_AFTER_MS ? ` · ${Math.round(((times.length - 1) * 60_000) / took)} a minute` : "";
}

function showSent() {
  const waiting = outbox.size;
  const line = byId("sent");
  line.classList.toggle("late", waiting > 2);
  line.textContent = waiting ? `${count(waiting, "answer")} waiting to be sent` : answered ? "Every answer is saved" : "";
}

let toastTimer;
function toast(text) {
  const line = byId("toast");
  line.textContent = text;
  show(line, true);
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => show(line, false), TOAST_MS);
}

const announce = (text) => (byId("announcer").textContent = text);

function flash(button) {
  if (!button) return;
  button.classList.remove("pressed");
  requestAnimationFrame(() => button.classList.add("pressed"));
  setTimeout(() => button.classList.remove("pressed"), 180);
}

// What the service says

function onOutboxChanged() {
  moves += 1;
  showSent();
}

function onRefused(entry, status, detail) {
  if (entry.kind === "skip") return; // it went to somebody else meanwhile, which is what was wanted
  recent.remove(entry.key);
  tally(-1);
  toast(status === 409 ? "One answer came too late: the image had gone to somebody else." : `One answer was refused: ${detail}`);
  draw();
}

function onSignedOut() {
  why = SIGNED_OUT;
  keeper.queue = [];
  draw();
}

// Beginning

for (const entry of outbox.entries.filter((one) => one.kind === "answer")) recent.add({ ...entry });
answered = outbox.entries.filter((one) => one.kind === "answer").length;

for (const button of byId("classes").children) {
  button.addEventListener("click", () => {
    const byPointer = !button.matches(":focus-visible");
    answer(Number(button.dataset.class));
    if (byPointer) button.blur(); // so that Space goes on meaning skip
  });
}
for (const [id, action] of [["undo", undo], ["skip", skip]]) {
  byId(id).addEventListener("click", () => {
    if (!byId(id).matches(":focus-visible")) byId(id).blur();
    action();
  });
}
const help = () => byId("help").showModal();
byId("help-button").addEventListener("click", help);
byId("help").addEventListener("close", () => document.activeElement?.blur());
listen(page.classes, { answer, undo, skip, help });
for (const kind of ["keydown", "pointerdown"]) addEventListener(kind, () => keeper.seen(), { capture: true });
draw();
keeper.start();
