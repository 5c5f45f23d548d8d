/**
 * Choosing among the images of a page: a click chooses one, Shift and a click all between, the arrow keys move, Space
 * chooses, Ctrl+A takes the page, Escape none of it. Without this script the check boxes and buttons work by themselves.
 */

import { byId, show } from "./dom.js";

const boxes = [...document.querySelectorAll("#found input[name=id]")];
const all = byId("all");
let last = -1;

function draw() {
  const chosen = boxes.filter((box) => box.checked).length;
  const label = byId("chosen-count");
  const number = all?.checked ? "" : chosen.toLocaleString();
  label.textContent = chosen || all?.checked ? label.dataset.some.replace("%n", number).trim() : label.dataset.none;
  if (all?.checked) label.textContent = all.closest("label").textContent.trim();
  for (const button of byId("bulk").querySelectorAll("[name=action]")) {
    button.dataset.fixed ??= String(button.disabled);
    button.disabled = button.dataset.fixed === "true" || !(chosen || all?.checked);
  }
  show(byId("choose-none"), chosen > 0);
  byId("bulk").classList.toggle("busy", chosen > 0 || Boolean(all?.checked));
}

function choose(checked, from = 0, to = boxes.length - 1) {
  for (const box of boxes.slice(Math.min(from, to), Math.max(from, to) + 1)) box.checked = checked;
  draw();
}

/** How many images are in a row, as the page is laid out now. */
function perRow() {
  const top = boxes[0].closest("li").offsetTop;
  const next = boxes.findIndex((box) => box.closest("li").offsetTop !== top);
  return next === -1 ? boxes.length : next;
}

function move(event, at) {
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -perRow(), ArrowDown: perRow() };
  const to = at + (steps[event.key] ?? NaN);
  if (!boxes[to]) return;
  event.preventDefault();
  boxes[to].focus();
  boxes[to].scrollIntoView({ block: "nearest" });
  if (event.shiftKey) choose(true, at, to);
}

if (boxes.length) {
  // Enter in the field of tags means the button beside it, not the first of the form.
  byId("bulk").querySelector("[name=tag]").addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    byId("put-tag").click();
  });
  boxes.forEach((box, at) => {
    box.addEventListener("click", (event) => {
      if (event.shiftKey && last >= 0) choose(box.checked, last, at);
      last = at;
      draw();
    });
    box.addEventListener("keydown", (event) => move(event, at));
  });
  all?.addEventListener("change", draw);
  byId("choose-page").addEventListener("click", () => choose(true));
  byId("choose-none").addEventListener("click", () => choose(false));
  show(byId("choose-page"), true);
  byId("found").addEventListener("keydown", (event) => {
    if (event.key === "Escape") choose(false);
    if (event.key === "a" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      choose(true);
    }
  });
  // A browser that returns to this page keeps what was checked.
  addEventListener("pageshow", draw);
  draw();
}

for (const field of document.querySelectorAll(".filters select")) {
  field.addEventListener("change", () => field.form.requestSubmit());
}
