/**
 * The list of exports, kept as it is while one is being prepared. The server writes the rows; one whose state is the same
 * stays where it is, with whatever is open or has the focus in it. Without this script the page tells when it is loaded.
 */

import { byId, embedded } from "./dom.js";
import { inOwnTime } from "./times.js";

const LOOK_AGAIN_MS = 1_500;
const PATIENCE_MS = 20_000;
const UNDER_WAY = new Set(["queued", "running"]);

const words = embedded("words");

const rowsOf = (list) => [...list.querySelectorAll(".exports > li")];
const isUnderWay = () => rowsOf(byId("exports-list")).some((row) => UNDER_WAY.has(row.dataset.state));

function say(row) {
  const text = { ready: words.export_ready, failed: words.export_failed }[row.dataset.state];
  if (text) byId("exports-said").textContent = text.replace("%n", row.id.replace("export-", ""));
}

function advance(row, fresh) {
  const [bar, as] = [row, fresh].map((one) => one.querySelector("progress"));
  if (!bar || !as) return;
  bar.value = as.value;
  row.querySelector(".n").textContent = fresh.querySelector(".n").textContent;
}

function replace(row, fresh) {
  const hadFocus = row.contains(document.activeElement);
  inOwnTime(fresh);
  row.replaceWith(fresh);
  if (hadFocus) fresh.querySelector("a, button")?.focus();
  say(fresh);
}

function update(list, fresh) {
  const wanted = rowsOf(fresh);
  const ids = new Set(wanted.map((row) => row.id));
  for (const row of rowsOf(list)) if (!ids.has(row.id)) row.remove();
  for (const row of wanted.reverse()) {
    const old = byId(row.id);
    if (!old) {
      inOwnTime(row);
      list.querySelector(".exports").prepend(row);
    } else if (old.dataset.state === row.dataset.state) advance(old, row);
    else replace(old, row);
  }
}

async function look() {
  const list = byId("exports-list");
  try {
    const answer = await fetch(list.dataset.from, { credentials: "same-origin", signal: AbortSignal.timeout(PATIENCE_MS) });
    if (answer.redirected) return; // signed out: the next click says so
    if (answer.ok) {
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      update(list, document.adoptNode(page.getElementById("exports-list")));
    }
  } catch (error) {
    console.info("the list of exports is asked for again", error);
  }
  if (isUnderWay()) setTimeout(look, LOOK_AGAIN_MS);
}

if (isUnderWay()) setTimeout(look, LOOK_AGAIN_MS);
