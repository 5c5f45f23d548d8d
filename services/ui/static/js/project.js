/** The project page: draws the state that the server put into it, then asks for it again every two seconds. */

import { drawCurve } from "./chart.js";
import { byId, count, embedded, make, setMeter, show } from "./dom.js";
import { drawEvidence, unlabelled } from "./evidence.js";
import { Unreachable, get, post, signInPath } from "./http.js";

const ASK_EVERY_MS = 2_000;
const STEPS = ["training", "scoring", "selecting", "labelling"];
const NO_FIGURE = "–";
const percent = (share, digits = 1) => (share === null || share === undefined ? NO_FIGURE : `${(100 * share).toFixed(digits)}%`);

let state = embedded("state");
const base = `/v1/projects/${state.project.id}`;

function draw() {
  drawTitle();
  drawNow();
  drawTiles();
  drawCurve(state);
  drawClasses();
  drawEvidence(state);
  drawJobs();
  drawRounds();
}

function drawTitle() {
  const { project } = state;
  const failed = state.failed.length > 0;
  byId("state-pill").textContent = failed ? "failed" : project.state;
  byId("state-pill").dataset.state = failed ? "failed" : project.state;
  const goals = [];
  if (project.label_budget) goals.push(`budget ${count(project.label_budget, "label")}`);
  if (project.target_accuracy) goals.push(`target ${percent(project.target_accuracy, 0)}`);
  byId("setup").textContent = [`${project.strategy} strategy`, `${project.mode} rounds`, ...goals].join(" · ");
  const button = byId("switch");
  show(button, true);
  button.dataset.action = project.state === "running" ? "pause" : "start";
  button.textContent = { running: "Pause", draft: "Start", paused: "Go on", finished: "Go on anyway" }[project.state];
}

function drawNow() {
  byId("headline").textContent = state.now.headline;
  byId("why").textContent = state.now.why;
  byId("round-name").textContent = roundName();
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
  return state.round.number === 0 ? "Round 0 · the first labels" : `Round ${state.round.number}`;
}

function drawTiles() {
  const { labels, images, tasks, project } = state;
  const last = state.rounds.findLast((round) => round.accuracy);
  const tiles = [
    ["Accuracy", percent(last?.accuracy.value), last ? `${percent(last.accuracy.low)} to ${percent(last.accuracy.high)}` : "no holdout figure yet"],
    ["Labels to learn from", labels.pool.toLocaleString(), `${unlabelled(state).toLocaleString()} of the pool have none`],
    ["Holdout", labels.holdout.toLocaleString(), `of ${count(images.holdout, "image")} that only measure`],
    ["By people", labels.human.toLocaleString(), project.label_budget ? `of a budget of ${project.label_budget.toLocaleString()}` : "answers that stand"],
    ["Queue", tasks.open.toLocaleString(), `${tasks.leased.toLocaleString()} more in people's hands`],
  ];
  const draw = ([name, figure, note]) =>
    make("div", {}, make("dt", { text: name }), make("dd", { text: figure }), make("dd", { class: "note", text: note }));
  byId("tiles").replaceChildren(...tiles.map(draw));
}

function drawClasses() {
  const most = Math.max(1, ...state.classes.map((one) => one.labels));
  const draw = (one) => {
    const right = one.accuracy === null ? "" : `${percent(one.accuracy, 0)} right`;
    const bar = make("span", { class: "bar-of" }, make("span", { style: { width: `${(100 * one.labels) / most}%`, background: one.colour } }));
    return make("li", {}, make("span", { class: "name", text: one.name }), bar,
      make("span", { class: "n", text: one.labels.toLocaleString() }), make("span", { class: "right", text: right }));
  };
  byId("classes").replaceChildren(...state.classes.map(draw));
}

function drawJobs() {
  show(byId("jobs-card"), state.jobs.length + state.failed.length + state.queued > 0);
  byId("queued").textContent = state.queued ? `${count(state.queued, "more job")} waiting for a worker` : "";
  byId("jobs").replaceChildren(...state.failed.map(failedJob), ...state.jobs.map(runningJob));
}

function runningJob(job) {
  const meter = make("div", { class: "meter small" }, make("span"));
  setMeter(meter, job.progress);
  const details = Object.entries(job.detail).filter(([, value]) => typeof value !== "object").map(([key, value]) => `${key} ${value}`);
  const note = [...details, job.worker ? `on ${job.worker}` : ""].filter(Boolean).join(" · ");
  return make("li", {}, make("span", { class: "job-name", text: `${job.kind} #${job.id}` }), meter,
    make("span", { class: "n", text: percent(job.progress, 0) }), make("span", { class: "muted", text: note }));
}

function failedJob(job) {
  return make("li", { class: "failed" }, make("span", { class: "job-name", text: `${job.kind} #${job.id} failed` }),
    make("pre", { text: job.error ?? "no error was recorded" }),
    make("span", { class: "muted", text: `after ${count(job.attempts, "attempt")}; winnow requeue runs it again` }));
}

function drawRounds() {
  byId("rounds").replaceChildren(...state.rounds.toReversed().map(roundRow));
}

function roundRow(round) {
  const accuracy = round.accuracy;
  const interval = accuracy ? `${(100 * accuracy.low).toFixed(1)} – ${(100 * accuracy.high).toFixed(1)}` : NO_FIGURE;
  const began = new Date(round.started_at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  const cells = [
    ["", round.number], ["", round.state], ["n", round.labels.toLocaleString()], ["n strong", percent(accuracy?.value)],
    ["n", interval], ["n", round.macro_f1 === null ? NO_FIGURE : round.macro_f1.toFixed(3)], ["", began], ["n", took(round)],
  ];
  const row = make("tr", {}, ...cells.map(([name, text]) => make("td", { class: name, text })));
  if (round.checkpoint_id) {
    const href = `/projects/${state.project.id}/models/${round.checkpoint_id}`;
    row.cells[0].replaceChildren(make("a", { href, text: round.number, "aria-label": `Model of round ${round.number}` }));
  }
  return row;
}

function took(round) {
  if (!round.finished_at) return NO_FIGURE;
  const seconds = Math.round((new Date(round.finished_at) - new Date(round.started_at)) / 1000);
  if (seconds < 90) return `${seconds} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function complain(text) {
  byId("trouble").textContent = text;
  show(byId("trouble"), text !== "");
}

async function ask() {
  try {
    const result = await get(`${base}/state`);
    if (result.status === 401) return location.assign(signInPath());
    if (result.ok) {
      state = result.data;
      complain("");
      draw();
    } else complain(result.data.detail ?? `error ${result.status}`);
  } catch (error) {
    if (!(error instanceof Unreachable)) throw error;
    complain("The service can't be reached. What you see is from before; this page tries again.");
  }
  return undefined;
}

async function keepAsking() {
  if (!document.hidden) await ask();
  setTimeout(keepAsking, ASK_EVERY_MS);
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
    complain("The service can't be reached. Nothing was changed.");
  } finally {
    button.disabled = false;
  }
}

byId("switch").addEventListener("click", () => act(byId("switch"), byId("switch").dataset.action));
byId("label-rest").addEventListener("click", () => act(byId("label-rest"), "label-rest"));

draw();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
setTimeout(keepAsking, ASK_EVERY_MS);
