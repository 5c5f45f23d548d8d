/** Images on which people differ, one after the other: what they said stays hidden until it is asked for. */

import { Clock } from "./clock.js";
import { byId, embedded, make, show } from "./dom.js";
import { Unreachable, get, signInPath } from "./http.js";
import { listen } from "./keys.js";
import { announce, flash, onPress, toast } from "./notices.js";
import { Outbox } from "./outbox.js";
import { percent, say } from "./review_words.js";
import { ClassSearch } from "./search.js";

const AT_ONCE = 20;
const AGAIN_MS = 3_000;
const LOOK_AGAIN_MS = 20_000;

const page = embedded("page");
const base = `/v1/projects/${page.project}/adjudication`;
const classes = new Map(page.classes.map((one) => [one.id, one]));
const clock = new Clock();
const search = new ClassSearch(page.classes, decide);
const outbox = await Outbox.open(page.project, page.user, { changed: drawSent, sent: drawSent, refused: onRefused, signedOut });

let queue = []; // questions to be decided, the first is shown
let after = 0; // the last question that was asked for
let waiting = 0; // how many wait in all
let ended = false;
let last = null; // what was decided last, to be taken back while it is not sent
const done = new Set(outbox.entries.map((one) => one.question_id)); // decided here: a list asked for before has them
let some = false;

async function ask(path, again) {
  clearTimeout(ask.timer);
  try {
    const result = await get(path);
    if (result.ok) return result.data;
    if (result.status === 401) signedOut();
    else trouble(say("load_failed", { detail: result.data.detail ?? result.status }));
    if (result.status < 500 && result.status !== 429) return null;
  } catch (error) {
    if (!(error instanceof Unreachable)) throw error;
    trouble(say("offline"));
  }
  if (again) ask.timer = setTimeout(again, AGAIN_MS);
  return null;
}

function trouble(...parts) {
  byId("trouble").replaceChildren(...parts);
  show(byId("trouble"), true);
}

function signedOut() {
  trouble(`${say("signed_out")} `, make("a", { href: signInPath(), text: say("sign_in") }));
}

/** Ask for more once few are left. At the end of the list it is asked for from its beginning. */
async function fill() {
  if (queue.length > AT_ONCE / 4 || fill.busy) return;
  fill.busy = true;
  const data = await ask(`${base}?after=${after}&limit=${AT_ONCE}`, fill);
  fill.busy = false;
  if (!data) return;
  show(byId("trouble"), false);
  const known = new Set([...queue, ...outbox.entries].map((one) => one.question_id));
  queue = [...queue, ...data.questions.filter(({ question_id: id }) => !known.has(id) && !done.has(id))];
  waiting = data.waiting;
  ended = data.next_after === null;
  after = data.next_after ?? 0;
  draw();
  if (!queue.length) ask.timer = setTimeout(fill, ended ? LOOK_AGAIN_MS : 0);
}

function draw() {
  const [one, next] = queue;
  show(byId("case"), Boolean(one));
  show(byId("none"), !one && ended);
  const left = ended ? queue.length : Math.max(waiting, queue.length);
  byId("standing").textContent = one ? say("cases", { count: left }) : ended ? say("cases_none") : "";
  if (!one || draw.shown === one.question_id) return;
  draw.shown = one.question_id;
  byId("picture").replaceChildren(picture(one));
  if (next) new Image().src = next.image.url;
  byId("case-title").textContent = say("answered", { count: one.answers });
  byId("case-why").textContent = say(one.kind);
  byId("reveal").setAttribute("aria-expanded", "false");
  show(byId("reveal"), true);
  show(byId("reveal-note"), true);
  show(byId("answers"), false);
  byId("answers").replaceChildren();
  clock.begin();
}

function picture({ image }) {
  const shown = make("img", { src: image.url, alt: say("picture"), width: image.width, height: image.height });
  if (Math.max(image.width, image.height) <= 64) shown.classList.add("pixels");
  return shown;
}

async function reveal() {
  const [one] = queue;
  if (!one || byId("reveal").hidden) return;
  const data = await ask(`${base}/${one.question_id}/answers`, null);
  if (!data || queue[0] !== one) return;
  byId("answers").replaceChildren(...data.answers.map(answer));
  show(byId("answers"), true);
  show(byId("reveal"), false);
  show(byId("reveal-note"), false);
}

function answer({ class_id, by, accuracy, known }) {
  const { name, colour } = classes.get(class_id);
  const record = accuracy === null ? say("unknown") : say("known", { accuracy: percent(accuracy), count: known });
  return make("li", {}, make("span", { class: "chip", text: name, style: { "--colour": colour } }), make("span", { class: "muted", text: `${by}, ${record}` }));
}

function decide(class_id) {
  const [one] = queue;
  if (!one) return;
  flash(byId("classes").querySelector(`[data-class="${class_id}"]`));
  const entry = outbox.add({ kind: "decision", question_id: one.question_id, class_id, duration_ms: clock.lap() });
  last = { key: entry.key, one };
  done.add(one.question_id);
  some = true;
  waiting -= 1;
  const text = say("decided", { name: classes.get(class_id).name });
  toast(text);
  announce(text);
  next();
}

/** To the end of a list that is here whole; of a longer one it comes again with the list's beginning. */
function later() {
  if (!queue.length) return;
  toast(say("later"));
  if (ended) queue.push(queue[0]);
  next();
}

function next() {
  queue = queue.slice(1);
  draw();
  fill();
}

function undo() {
  if (!last || !outbox.withdraw(last.key)) return toast(say(last ? "case_undo" : "undo_none"));
  queue = [last.one, ...queue];
  done.delete(last.one.question_id);
  waiting += 1;
  last = null;
  return draw();
}

function onRefused(entry, status, detail) {
  toast(status === 409 ? say("settled") : say("refused", { detail }));
  drawSent();
}

function drawSent() {
  const count = outbox?.size ?? 0;
  const line = byId("sent");
  line.textContent = count ? say("waiting", { count }) : some ? say("saved") : "";
  if (count && !navigator.onLine) line.textContent += `. ${say("offline")}`;
}

const presses = { reveal, later, search: () => search.open(), help: () => byId("help").showModal() };
for (const button of document.querySelectorAll("[data-press]")) onPress(button, presses[button.dataset.press]);
for (const button of document.querySelectorAll("#classes [data-class]")) onPress(button, () => decide(Number(button.dataset.class)));
listen(page.classes, decide, { s: reveal, ArrowRight: later, Backspace: undo, "/": presses.search, "?": presses.help });
addEventListener("online", () => fill());
await fill();
