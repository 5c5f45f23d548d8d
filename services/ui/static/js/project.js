/** The overview of a project: draws the state that the server put into it, and again each time that it is told more. */

import { drawCurve } from "./chart.js";
import { drawClasses } from "./classes.js";
import { byId, embedded, make, setMeter, show } from "./dom.js";
import { drawEvidence } from "./evidence.js";
import { drawGrowth, hoursOf, money } from "./growth.js";
import { Unreachable, get, post, signInPath } from "./http.js";
import { Galleries } from "./shots.js";
import { Tabs } from "./tabs.js";
import { drawFailed, drawTraining } from "./training.js";
import { _, ngettext } from "./words.js";

const FIGURES_EVERY_MS = 10_000;
const STEPS = ["training", "scoring", "selecting", "labelling"];
const NO_FIGURE = "–";
const percent = (share, digits = 1) => (share === null || share === undefined ? NO_FIGURE : `${(100 * share).toFixed(digits)}%`);
const STATES = () => ({ draft: _("draft"), running: _("running"), paused: _("paused"), finished: _("finished"), failed: _("failed") });
const TURNS = () => ({ training: _("training"), scoring: _("scoring"), selecting: _("selecting"), labelling: _("labelling"), done: _("done") });

let state = embedded("state");
let figures = null;
const base = `/v1/projects/${state.project.id}`;
const galleries = new Galleries(state);
let tabs = null;

function draw() {
  drawTitle();
  drawNow();
  drawTiles();
  drawEvidence(state);
  drawFailed(state);
  drawPanel(tabs?.panel ?? "progress");
}

function drawPanel(panel) {
  if (panel === "progress") {
    drawCurve(state, figures?.ahead ?? []);
    drawRounds();
  } else if (panel === "classes-panel") drawClasses(state, figures);
  else if (panel === "labels") drawGrowth(figures);
  else if (panel === "confidence") galleries.look(state.evidence?.round ?? null);
  else if (panel === "training") drawTraining(state, figures);
}

function drawTitle() {
  const { project } = state;
  const failed = state.failed.length > 0;
  byId("state-pill").textContent = STATES()[failed ? "failed" : project.state];
  byId("state-pill").dataset.state = failed ? "failed" : project.state;
  const parts = [_("%(strategy)s strategy", { strategy: project.strategy }), project.mode === "strict" ? _("strict rounds") : _("rolling rounds")];
  if (project.label_budget) parts.push(ngettext("budget %(num)s label", "budget %(num)s labels", project.label_budget));
  if (project.target_accuracy) parts.push(_("target %(share)s", { share: percent(project.target_accuracy, 0) }));
  byId("setup").textContent = parts.join(" · ");
  const button = byId("switch");
  show(button, true);
  button.dataset.action = project.state === "running" ? "pause" : "start";
  button.textContent = { running: _("Pause"), draft: _("Start"), paused: _("Go on"), finished: _("Go on anyway") }[project.state];
}

function drawNow() {
  byId("headline").textContent = state.now.headline;
  byId("detail").textContent = state.now.detail;
  byId("why").textContent = state.now.why;
  byId("round-name").textContent = roundName();
  byId("queue").textContent = queue();
  setMeter(byId("meter"), state.progress?.share ?? null);
  const running = state.project.state === "running" && state.round !== null;
  show(byId("steps"), running);
  const at = STEPS.indexOf(state.round?.state);
  for (const step of byId("steps").children) {
    const place = STEPS.indexOf(step.dataset.step);
    step.className = place < at ? "past" : place === at ? "present" : "";
    if (place === at) step.setAttribute("aria-current", "step");
    else step.removeAttribute("aria-current");
  }
}

function roundName() {
  if (!state.round) return "";
  return state.round.number === 0 ? _("Round 0 · the first labels") : _("Round %(number)s", { number: state.round.number });
}

function queue() {
  const { open, leased } = state.tasks;
  if (!open && !leased) return "";
  const waiting = ngettext("%(num)s image waits for an answer.", "%(num)s images wait for an answer.", open);
  return leased ? `${waiting} ${ngettext("%(num)s more is in people’s hands.", "%(num)s more are in people’s hands.", leased)}` : waiting;
}

function drawTiles() {
  const draw = ([name, figure, note]) =>
    make("div", {}, make("dt", { text: name }), make("dd", { text: figure }), make("dd", { class: "note" }, note));
  byId("tiles").replaceChildren(...[accuracyTile(), labelsTile(), leftTile(), paceTile(), costTile()].map(draw));
}

function accuracyTile() {
  const last = state.rounds.findLast((round) => round.accuracy)?.accuracy;
  const note = last ? _("surely %(low)s to %(high)s", { low: percent(last.low), high: percent(last.high) }) : _("no holdout figure yet");
  return [_("Accuracy"), percent(last?.value), note];
}

function labelsTile() {
  const { labels, project } = state;
  const note = project.label_budget
    ? _("of a budget of %(budget)s", { budget: project.label_budget.toLocaleString() })
    : _("%(pool)s to learn from, %(holdout)s to measure", { pool: labels.pool.toLocaleString(), holdout: labels.holdout.toLocaleString() });
  return [_("Labels by people"), labels.human.toLocaleString(), note];
}

function leftTile() {
  const { left, until, pace } = figures?.effort ?? {};
  const name = until === "budget" ? _("Left in the budget") : _("To the target");
  if (left === undefined || left === null) return [name, NO_FIGURE, state.project.target_accuracy ? _("too early to say") : _("no target is set")];
  const reached = until === "target" ? _("more labels, by the forecast") : _("labels");
  return [name, left.toLocaleString(), pace ? _("%(what)s: about %(time)s", { what: reached, time: hoursOf(left, pace) }) : reached];
}

function paceTile() {
  const pace = figures?.effort.pace ?? null;
  if (pace === null) return [_("Pace"), NO_FIGURE, _("too few labels lately")];
  return [_("Pace"), Math.round(pace).toLocaleString(), _("labels in an hour of work")];
}

function costTile() {
  const effort = figures?.effort;
  if (!effort) return [_("Cost so far"), NO_FIGURE, ""];
  if (effort.price === null) {
    const { settings } = byId("tiles").dataset;
    return [_("Cost so far"), NO_FIGURE, settings ? make("a", { href: settings, text: _("Set a price") }) : _("no price is set")];
  }
  return [_("Cost so far"), money(effort, effort.answers), ngettext("for %(num)s answer", "for %(num)s answers", effort.answers)];
}

function drawRounds() {
  byId("rounds").replaceChildren(...state.rounds.toReversed().map(roundRow));
}

function roundRow(round) {
  const accuracy = round.accuracy;
  const interval = accuracy ? `${(100 * accuracy.low).toFixed(1)} – ${(100 * accuracy.high).toFixed(1)}` : NO_FIGURE;
  const began = new Date(round.started_at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  const cells = [
    ["", round.number], ["", TURNS()[round.state]], ["n", round.labels.toLocaleString()], ["n strong", percent(accuracy?.value)],
    ["n", interval], ["n", round.macro_f1 === null ? NO_FIGURE : round.macro_f1.toFixed(3)], ["", began], ["n", took(round)],
  ];
  const row = make("tr", {}, ...cells.map(([name, text]) => make("td", { class: name, text })));
  if (round.checkpoint_id) {
    const href = `/projects/${state.project.id}/models/${round.checkpoint_id}`;
    row.cells[0].replaceChildren(make("a", { href, text: round.number, "aria-label": _("Model of round %(number)s", { number: round.number }) }));
  }
  return row;
}

function took(round) {
  if (!round.finished_at) return NO_FIGURE;
  const seconds = Math.round((new Date(round.finished_at) - new Date(round.started_at)) / 1000);
  if (seconds < 90) return _("%(number)s s", { number: seconds });
  return seconds < 5400 ? _("%(number)s min", { number: Math.round(seconds / 60) }) : _("%(number)s h", { number: (seconds / 3600).toFixed(1) });
}

function complain(text) {
  byId("trouble").textContent = text;
  show(byId("trouble"), text !== "");
}

/** Ask for something to show; null, with a word to the reader, if it can't be had. */
async function ask(path) {
  try {
    const result = await get(base + path);
    if (result.status === 401) return location.assign(signInPath()) ?? null;
    if (result.ok) return result.data;
    complain(result.data.detail ?? `${result.status}`);
  } catch (error) {
    if (!(error instanceof Unreachable)) throw error;
    complain(_("The service can’t be reached. What you see is from before; this page tries again."));
  }
  return null;
}

/** Follow what happens for as long as the page is looked at. */
let events = null;

function follow() {
  events?.close();
  events = null;
  if (document.hidden) return;
  events = new EventSource(`${base}/live`);
  events.addEventListener("state", (event) => {
    const before = state;
    state = JSON.parse(event.data);
    complain("");
    draw();
    if (before.rounds.length !== state.rounds.length || before.round?.checkpoint_id !== state.round?.checkpoint_id) askFigures();
  });
  // It is tried again by itself after a lost connection, but not once it was refused: then this says why.
  events.addEventListener("error", async () => {
    const refused = events?.readyState === EventSource.CLOSED;
    await ask("/state");
    if (refused) setTimeout(follow, FIGURES_EVERY_MS);
  });
}

let asked = null;

async function askFigures() {
  clearTimeout(asked);
  if (!document.hidden) {
    figures = (await ask("/figures")) ?? figures;
    draw();
  }
  asked = setTimeout(askFigures, FIGURES_EVERY_MS);
}

async function act(button, action) {
  button.disabled = true;
  try {
    const result = await post(`${base}/${action}`);
    complain(result.ok ? "" : result.data.detail);
    if (result.ok) state = result.data;
    draw();
  } catch (error) {
    if (!(error instanceof Unreachable)) throw error;
    complain(_("The service can’t be reached. Nothing was changed."));
  } finally {
    button.disabled = false;
  }
}

byId("switch").addEventListener("click", () => act(byId("switch"), byId("switch").dataset.action));
byId("label-rest").addEventListener("click", () => act(byId("label-rest"), "label-rest"));

draw();
tabs = new Tabs(byId("tabs"), drawPanel);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
document.addEventListener("visibilitychange", () => {
  follow();
  if (!document.hidden) askFigures();
});
follow();
askFigures();
