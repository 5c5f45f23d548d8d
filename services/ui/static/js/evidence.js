/** When to stop, and what the model labels by itself: two panels of the project page, each with its evidence. */

import { byId, count, make, show } from "./dom.js";

const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)}%`;

export function drawEvidence(state) {
  drawRules(state);
  drawAutoLabels(state);
  drawConfidences(state);
  drawRest(state);
}

/** Images of the pool that have no label, of a person or of the model. */
export function unlabelled({ images, labels }) {
  return Math.max(0, images.total - images.holdout - labels.pool - labels.model);
}

function drawRules({ evidence }) {
  byId("stop-note").textContent = evidence ? `after round ${evidence.round}` : "";
  const rules = evidence?.rules ?? [];
  const empty = make("li", { class: "muted", text: "The rules are asked each time a model has looked at the pool." });
  byId("rules").replaceChildren(...(rules.length ? rules.toSorted((a, b) => b.on - a.on).map(rule) : [empty]));
  show(byId("forecast"), Boolean(evidence?.forecast));
  byId("forecast").textContent = evidence?.forecast ?? "";
}

function rule({ title, on, met, done, text }) {
  const state = met ? "met" : on ? "on" : "off";
  const width = done === null ? "0" : percent(done, 0);
  const bar = make("span", { class: "bar-of", "aria-hidden": "true" }, make("span", { style: { width } }));
  const evidence = text.slice(text.indexOf(":") + 1).trim();
  return make("li", { class: state }, make("span", { class: "name", text: title }), make("span", { class: "state", text: state }),
    bar, make("span", { class: "evidence", text: evidence }));
}

function drawAutoLabels({ auto_labels: auto, evidence }) {
  byId("auto-note").textContent = auto.on ? `to a precision of ${percent(auto.target, auto.target > 0.99 ? 2 : 0)}` : "off";
  const { audited } = auto;
  const facts = [
    ["Labels", auto.labels.toLocaleString()],
    ["Threshold", auto.on && evidence?.threshold ? evidence.threshold.toFixed(4) : "–"],
    ["Audited", audited.answers ? `${audited.right.toLocaleString()} of ${audited.answers.toLocaleString()} right` : "–"],
    ["Precision", audited.answers ? `${percent(audited.low)} to ${percent(audited.high)}` : "–"],
  ];
  const fact = ([name, figure]) => make("div", {}, make("dt", { text: name }), make("dd", { text: figure }));
  show(byId("auto"), auto.on || auto.labels > 0);
  byId("auto").replaceChildren(...facts.map(fact));
  show(byId("withdrawn"), auto.withdrawn !== null);
  byId("withdrawn").textContent = auto.withdrawn ? withdrawal(auto.withdrawn) : "";
  const why = reason(auto, evidence);
  show(byId("auto-why"), why !== "");
  byId("auto-why").textContent = why;
}

function withdrawal({ round, answers, right, threshold }) {
  return `In round ${round} people confirmed ${right.toLocaleString()} of ${count(answers, "audited label")}: too few. All labels of the model were withdrawn, and from then on it must be surer than ${threshold.toFixed(4)}.`;
}

function reason(auto, evidence) {
  if (!auto.on) return "People label everything. The setting auto_label lets the model label what it is sure enough of.";
  if (!evidence) return "Nothing yet: there is no model.";
  if (evidence.threshold === null) return `Nothing: ${evidence.reason}.`;
  const waiting = auto.audited.enough - auto.audited.answers;
  return waiting > 0 ? `The audit gives its verdict after ${count(waiting, "more answer")}; it raises the alarm before, if it must.` : "";
}

function drawConfidences({ evidence, auto_labels: auto }) {
  const pool = evidence?.pool;
  show(byId("sure"), Boolean(pool?.images));
  if (!pool?.images) return;
  const { histogram, unsure_below: below, unsure_share: share } = pool;
  const threshold = auto.on ? evidence.threshold : null;
  const most = Math.sqrt(Math.max(...histogram));
  const bars = histogram.map((images, at) => {
    const [low, high] = [at / histogram.length, (at + 1) / histogram.length];
    const kind = high <= below + 1e-9 ? "unsure" : threshold !== null && low >= threshold ? "taken" : "";
    return make("span", { class: kind, style: { height: `${(100 * Math.sqrt(images)) / most}%` }, title: `${low.toFixed(2)} to ${high.toFixed(2)}: ${count(images, "image")}` });
  });
  const lines = [mark(below, `below ${below}`, "left")];
  if (threshold !== null) lines.push(mark(threshold, "threshold", "left high"));
  byId("sure-bars").replaceChildren(...bars, ...lines);
  byId("sure-bars").setAttribute("aria-label", `${percent(share)} of ${count(pool.images, "image")} are predicted with a confidence below ${below}; heights are square roots`);
}

function mark(at, text, name) {
  return make("i", { class: `mark ${name}`, style: { left: percent(at, 2) } }, make("b", { text }));
}

function drawRest(state) {
  const left = unlabelled(state) - state.images.unreadable;
  const { project } = state;
  const offered = (project.state === "finished" || project.state === "paused") && state.round !== null && left > 0 && !project.labelling_rest;
  show(byId("rest"), offered);
  byId("rest-note").textContent = `${count(left, "image")} of the pool ${left === 1 ? "has" : "have"} no label, of a person or of the model.`;
}
