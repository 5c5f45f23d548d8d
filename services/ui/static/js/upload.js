/**
 * Uploading by drop: one request per file, a few at a time, each with its progress. A file that is refused says why, one
 * that can't be sent is tried again; the series as a whole is on record as an import. Without this script the form sends
 * its files by itself.
 */

import { byId, embedded, make, show } from "./dom.js";
import { Unreachable, post, tokenHeader } from "./http.js";

const AT_ONCE = 3;
const TRIES = 6;
const FIRST_WAIT_MS = 1_000;
const CLUTTER = /^(\.|Thumbs\.db$|desktop\.ini$)/;
const SHOWN_REFUSALS = 200;

const page = embedded("page");
const words = embedded("words");
const base = `/projects/${page.project}/data`;
const counts = { all: 0, done: 0, stored: 0, duplicate: 0, rejected: 0 };
let queue = [];
let busy = 0;
let series = null;
let held = false;
let stopped = false;

const say = (text) => {
  byId("upload-state").textContent = text
    .replace("%done", counts.done.toLocaleString()).replace("%all", counts.all.toLocaleString())
    .replace("%stored", counts.stored.toLocaleString()).replace("%duplicates", counts.duplicate.toLocaleString())
    .replace("%rejected", counts.rejected.toLocaleString());
};

/** All files below a dropped folder, with their folders in `path`. */
async function* filesBelow(entry, path = "") {
  if (entry.isFile) {
    yield { file: await new Promise((resolve, reject) => entry.file(resolve, reject)), folder: path };
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return;
    for (const one of some) yield* filesBelow(one, entry.name);
  }
}

async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files].map((file) => ({ file, folder: "" }));
  const found = [];
  for (const entry of entries) for await (const one of filesBelow(entry)) found.push(one);
  return found;
}

const chosen = (input) =>
  [...input.files].map((file) => ({ file, folder: (file.webkitRelativePath || "").split("/").at(-2) ?? "" }));

async function begin(found) {
  const files = found.filter(({ file }) => !CLUTTER.test(file.name));
  show(byId("uploading"), true);
  if (!files.length) return say(words.nothing);
  const split = byId("split").value;
  const wanted = byId("class").value;
  const named = new Set(page.classes);
  const classOf = (folder) => (wanted === "/" ? (named.has(folder) ? folder : "") : wanted);
  if (series === null) {
    Object.assign(counts, { all: 0, done: 0, stored: 0, duplicate: 0, rejected: 0 });
    byId("refused").replaceChildren();
    show(byId("refused-part"), false);
    const answer = await post(`${base}/imports`, { expected: files.length, split });
    if (!answer.ok) return say(answer.data.detail ?? words.given_up);
    series = answer.data.import_id;
  }
  stopped = false;
  counts.all += files.length;
  queue.push(...files.map(({ file, folder }) => ({ file, split, class: classOf(folder), tries: 0 })));
  show(byId("stop"), true);
  show(byId("look"), false);
  draw();
  return pump();
}

function draw() {
  byId("upload-progress").value = counts.all ? counts.done / counts.all : 0;
  if (!held) say(words.under_way);
}

function pump() {
  while (busy < AT_ONCE && queue.length && !held) send(queue.shift());
  if (!busy && !queue.length && series !== null) finish();
}

async function finish() {
  const ended = series;
  series = null;
  say(stopped ? words.stopped : words.finished);
  show(byId("stop"), false);
  show(byId("look"), true);
  await post(`${base}/imports/${ended}/end`).catch((error) => {
    if (!(error instanceof Unreachable)) throw error;
  });
}

function send(item) {
  busy += 1;
  const meter = make("progress", { max: 1, value: 0, "aria-label": item.file.name });
  const row = make("li", {}, make("span", { class: "name", text: item.file.name }), meter);
  byId("in-flight").append(row);
  const request = new XMLHttpRequest();
  const address = new URLSearchParams({ split: item.split, import: series, ...(item.class ? { class: item.class } : {}) });
  request.open("POST", `${base}/upload?${address}`);
  for (const [name, value] of Object.entries({ accept: "application/json", ...tokenHeader() })) request.setRequestHeader(name, value);
  request.upload.addEventListener("progress", (event) => {
    if (event.lengthComputable) meter.value = event.loaded / event.total;
  });
  request.addEventListener("loadend", () => {
    row.remove();
    busy -= 1;
    heard(item, request);
  });
  const form = new FormData();
  form.append("files", item.file, item.file.name);
  request.send(form);
}

function heard(item, request) {
  const answer = parsed(request.responseText);
  const result = answer.results?.[0];
  if (request.status === 200 && result) {
    counts[result.status] += 1;
    if (result.status === "rejected") refuse(item.file.name, result.reason);
  } else if (request.status === 401) return hold(item, words.signed_out);
  else if (request.status === 0 || request.status === 429 || request.status >= 500) return again(item);
  else {
    counts.rejected += 1;
    refuse(item.file.name, answer.detail ?? words.given_up);
  }
  counts.done += 1;
  draw();
  return pump();
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

/** Try it again later, each time a little later; it is never given up silently. */
function again(item) {
  item.tries += 1;
  if (item.tries >= TRIES) return hold(item, words.unreachable);
  say(words.unreachable);
  busy += 1; // its place is kept, so that not all others run into the same
  setTimeout(() => {
    busy -= 1;
    queue.unshift(item);
    pump();
  }, FIRST_WAIT_MS * 2 ** (item.tries - 1));
  return undefined;
}

function hold(item, text) {
  queue.unshift(item);
  held = true;
  say(text);
  show(byId("go-on"), true);
}

function refuse(name, reason) {
  show(byId("refused-part"), true);
  if (byId("refused").children.length >= SHOWN_REFUSALS) return;
  byId("refused").append(
    make("li", {}, make("span", { class: "name", text: name }), make("span", { class: "bad-text", text: reason })),
  );
}

byId("go-on").addEventListener("click", () => {
  held = false;
  for (const item of queue) item.tries = 0;
  show(byId("go-on"), false);
  pump();
});
byId("stop").addEventListener("click", () => {
  stopped = true;
  held = false;
  counts.all -= queue.length;
  queue = [];
  show(byId("go-on"), false);
  pump();
});

const drop = byId("drop");
for (const kind of ["dragenter", "dragover"]) {
  drop.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
}
for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
drop.addEventListener("drop", async (event) => {
  event.preventDefault();
  await begin(await dropped(event.dataTransfer));
});
for (const id of ["files", "folder"]) {
  byId(id).addEventListener("change", async () => {
    await begin(chosen(byId(id)));
    byId(id).value = "";
  });
}
addEventListener("beforeunload", (event) => {
  if (series !== null) event.preventDefault();
});

show(document.querySelector(".drop-here"), true);
show(byId("options"), true);
show(byId("folder-label"), "webkitdirectory" in byId("folder"));
byId("files").classList.add("unseen");
byId("folder").classList.add("unseen");
byId("folder").hidden = false;
document.querySelector(".without-script").hidden = true;
