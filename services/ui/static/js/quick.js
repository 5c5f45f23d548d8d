/**
 * Quick label: each image that is brought is uploaded, then the model is asked about those that have arrived, some at a
 * time; what it is sure of is filed, and the others wait for a key. What could not be sent is tried again.
 */

import { byId, embedded, make, show } from "./dom.js";
import { Unreachable, get, post, tokenHeader } from "./http.js";
import { listen } from "./keys.js";
import { toast } from "./notices.js";

const AT_ONCE = 3;
const LOOK_MS = 400;
const AGAIN_MS = 2_000;
const page = embedded("page");
const words = embedded("words");
const api = `/v1/projects/${page.project}/quick`;
const byClass = new Map(page.classes.map((one) => [one.id, one]));
const said = (text, values) =>
  Object.entries(values).reduce((line, [name, value]) => line.replace(`%${name}`, value), text).replace("%%", "%");
const percent = (share) => (Math.floor(1000 * share) / 10).toString();
const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** All images, in the order in which they came: `state` is sending, looking, waiting, filed, answered, had or refused. */
const items = [];
const toSend = [];
const toAsk = [];
const answered = [];
let sending = 0;
let asking = false;

const thumb = (item) => `/projects/${page.project}/images/${item.id}/thumb`;
const nameOf = (classId) => byClass.get(classId)?.name ?? "";
const current = () => items.find((item) => item.state === "waiting");

const STATES = {
  sending: () => words.sending,
  looking: () => words.looking,
  waiting: () => words.waiting,
  filed: (item) => said(words.filed, { name: nameOf(item.classes[0]), n: percent(item.shares[0]) }),
  answered: (item) => said(words.answered, { name: nameOf(item.label) }),
  had: (item) => said(words.had, { name: nameOf(item.label) }),
  refused: (item) => said(words.refused, { why: item.why }),
};

function draw() {
  const of = (...states) => items.filter((item) => states.includes(item.state)).length;
  show(byId("result-part"), items.length > 0);
  byId("counts").textContent = said(words.counts, {
    filed: of("filed"), answered: of("answered"), waiting: of("waiting"), coming: of("sending", "looking"),
  });
  for (const item of items) drawTile(item);
  const ids = items.filter((item) => item.id && item.state !== "refused").map((item) => item.id);
  if (byId("take-along")) {
    byId("ids").value = ids.join(",");
    show(byId("take-along"), ids.length > 0);
  }
  drawQuestion(current());
}

function drawTile(item) {
  item.tile ??= byId("shots").appendChild(make("li", { class: "shot" }, make("span", { class: "pick" }), make("p", { class: "shot-text" },
    make("span", { text: item.name }), make("span", { class: "muted" }))));
  item.tile.dataset.state = item.state;
  item.tile.lastChild.lastChild.textContent = STATES[item.state](item);
  const frame = item.tile.firstChild;
  if (item.id && !frame.hasChildNodes()) frame.append(make("img", { src: thumb(item), alt: "", loading: "lazy", decoding: "async" }));
}

function drawQuestion(item) {
  show(byId("ask-part"), Boolean(item));
  byId("undo").disabled = !answered.length;
  if (!item) return;
  const source = `/projects/${page.project}/images/${item.id}`;
  if (byId("picture").getAttribute("src") !== source) byId("picture").src = source;
  byId("ask-title").textContent = said(words.which, { name: item.name });
  byId("says").textContent = item.classes.length
    ? said(words.says, { name: nameOf(item.classes[0]), n: percent(item.shares[0]) }) : words.no_model;
  byId("agree").disabled = !item.classes.length;
}

function bring(files) {
  const some = [...files];
  if (!some.length) return toast(words.nothing);
  const threshold = byId("file")?.checked ? Number(byId("threshold").value) / 100 : null;
  for (const file of some) {
    const item = { file, name: file.name, state: "sending", classes: [], shares: [], threshold };
    items.push(item);
    toSend.push(item);
  }
  draw();
  return pump();
}

function pump() {
  while (sending < AT_ONCE && toSend.length) send(toSend.shift());
  if (!asking && toAsk.length && (toAsk.length >= page.at_once || (!sending && !toSend.length))) look();
}

/** One request; tried again for as long as the service can't be reached. */
async function persist(call) {
  for (;;) {
    try {
      const answer = await call();
      if (answer.status < 500 && answer.status !== 429) return answer;
    } catch (error) {
      if (!(error instanceof Unreachable || error instanceof TypeError)) throw error;
    }
    toast(words.unreachable);
    await wait(AGAIN_MS);
  }
}

async function send(item) {
  sending += 1;
  const answer = await persist(async () => {
    const form = new FormData();
    form.append("files", item.file, item.name);
    const response = await fetch(`/projects/${page.project}/data/upload?split=pool`, {
      method: "POST", body: form, headers: { accept: "application/json", ...tokenHeader() }, credentials: "same-origin",
    });
    return { status: response.status, ok: response.ok, data: await response.json() };
  });
  sending -= 1;
  delete item.file;
  const result = answer.data.results?.[0];
  item.id = result?.image_id ?? null;
  if (!answer.ok || !item.id) Object.assign(item, { state: "refused", why: result?.reason ?? answer.data.detail ?? answer.status });
  else if (items.some((other) => other !== item && other.id === item.id)) items.splice(items.indexOf(item), 1), item.tile?.remove();
  else if (result.reason) Object.assign(item, { state: "refused", why: words.holdout });
  else if (page.has_model) {
    item.state = "looking";
    toAsk.push(item);
  } else item.state = "waiting";
  draw();
  pump();
}

async function look() {
  asking = true;
  const some = toAsk.splice(0, page.at_once);
  const asked = await persist(() => post(`${api}/predictions`, { image_ids: some.map((item) => item.id) }));
  let pictures = null;
  while (asked.ok && pictures === null) {
    await wait(LOOK_MS);
    const answer = await persist(() => get(`${api}/predictions/${asked.data.job_id}`));
    if (!answer.ok) break;
    ({ pictures } = answer.data);
  }
  for (const item of some) heard(item, pictures?.find((one) => one.image_id === item.id));
  for (const threshold of new Set(some.map((item) => item.threshold))) {
    if (pictures && threshold) await file(asked.data.job_id, threshold, some.filter((item) => item.threshold === threshold));
  }
  for (const item of some) if (item.state === "looking") item.state = "waiting";
  asking = false;
  draw();
  pump();
}

function heard(item, picture) {
  if (!picture || picture.error) return;
  Object.assign(item, { classes: picture.class_ids, shares: picture.probabilities });
  if (picture.label !== null) Object.assign(item, { state: "had", label: picture.label });
}

async function file(jobId, threshold, some) {
  const answer = await persist(() => post(`${api}/predictions/${jobId}/file`, { threshold }));
  const filed = new Set(answer.data.image_ids ?? []);
  for (const item of some) if (filed.has(item.id)) Object.assign(item, { state: "filed", label: item.classes[0] });
}

async function answer(classId) {
  const item = current();
  if (!item) return;
  Object.assign(item, { state: "answered", label: classId });
  answered.push(item);
  draw();
  const body = { image_id: item.id, class_id: classId, suggested: item.classes[0] ?? null };
  const reply = await persist(() => post(`${api}/answers`, body));
  if (!reply.ok) refuse(item, reply);
}

async function undo() {
  const item = answered.pop();
  if (!item) return;
  Object.assign(item, { state: "waiting", label: null });
  draw();
  const reply = await persist(() => post(`${api}/undo`, { image_id: item.id }));
  if (!reply.ok) toast(said(words.failed, { why: reply.data.detail ?? reply.status }));
}

function refuse(item, reply) {
  item.state = "waiting";
  toast(said(words.failed, { why: reply.data.detail ?? reply.status }));
  draw();
}

function later() {
  const item = current();
  if (!item) return;
  items.push(...items.splice(items.indexOf(item), 1)); // behind all others that wait
  draw();
}

const agree = () => current()?.classes.length && answer(current().classes[0]);

byId("files").addEventListener("change", () => {
  bring(byId("files").files);
  byId("files").value = "";
});
const drop = byId("drop");
for (const kind of ["dragenter", "dragover"]) {
  drop.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
}
for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  bring(event.dataTransfer.files);
});
addEventListener("paste", (event) => {
  const files = event.clipboardData?.files;
  if (files?.length) bring(files);
});
for (const button of document.querySelectorAll("[data-class]")) {
  button.addEventListener("click", () => answer(Number(button.dataset.class)));
}
byId("picture").addEventListener("load", ({ target }) => {
  target.classList.toggle("pixels", target.naturalWidth <= 64 && target.naturalHeight <= 64);
});
byId("agree").addEventListener("click", agree);
byId("later").addEventListener("click", later);
byId("undo").addEventListener("click", undo);
listen(page.classes, answer, { Enter: agree, " ": later, Backspace: undo });
addEventListener("beforeunload", (event) => {
  if (items.some((item) => item.state === "sending")) event.preventDefault();
});
