/** When to stop, and what the model labels by itself: two panels of the project page, each with its evidence. */

import { byId, make, show } from "./dom.js";
import { _, ngettext } from "./words.js";

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
  byId("stop-note").textContent = evidence ? _("after round %(round)s", { round: evidence.round }) : "";
  const rules = evidence?.rules ?? [];
  const empty = make("li", { class: "muted", text: _("The rules are asked each time a model has looked at the pool.") });
  byId("rules").replaceChildren(...(rules.length ? rules.toSorted((a, b) => b.on - a.on).map(rule) : [empty]));
  show(byId("forecast"), Boolean(evidence?.forecast));
  byId("forecast").textContent = evidence?.forecast ?? "";
}

function rule({ title, on, met, done, text }) {
  const state = met ? "met" : on ? "on" : "off";
  const said = { met: _("met"), on: _("on"), off: _("off") }[state];
  const width = done === null ? "0" : percent(done, 0);
  const bar = make("span", { class: "bar-of", "aria-hidden": "true" }, make("span", { style: { width } }));
  const evidence = text.slice(text.indexOf(":") + 1).trim();
  return make("li", { class: state }, make("span", { class: "name", text: title }), make("span", { class: "state", text: said }),
    bar, make("span", { class: "evidence", text: evidence }));
}

function drawAutoLabels({ auto_labels: auto, evidence }) {
  byId("auto-note").textContent = auto.on ? _("to a precision of %(share)s", { share: percent(auto.target, auto.target > 0.99 ? 2 : 0) }) : _("off");
  const { audited } = auto;
  const facts = [
    [_("Labels"), auto.labels.toLocaleString()],
    [_("Threshold"), auto.on && evidence?.threshold ? evidence.threshold.toFixed(4) : "–"],
    [_("Audited"), audited.answers ? _("%(right)s of %(answers)s right", { right: audited.right.toLocaleString(), answers: audited.answers.toLocaleString() }) : "–"],
    [_("Precision"), audited.answers ? _("%(low)s to %(high)s", { low: percent(audited.low), high: percent(audited.high) }) : "–"],
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
  return ngettext(
    "In round %(round)s people confirmed %(right)s of %(num)s audited label: too few. All labels of the model were withdrawn, and from then on it must be surer than %(threshold)s.",
    "In round %(round)s people confirmed %(right)s of %(num)s audited labels: too few. All labels of the model were withdrawn, and from then on it must be surer than %(threshold)s.",
    answers,
    { round, right: right.toLocaleString(), threshold: threshold.toFixed(4) },
  );
}

function reason(auto, evidence) {
  if (!auto.on) return _("People label everything. The setting “The model may label” lets the model label what it is sure enough of.");
  if (!evidence) return _("Nothing yet: there is no model.");
  if (evidence.threshold === null) return _("Nothing: %(reason)s.", { reason: evidence.reason });
  const waiting = auto.audited.enough - auto.audited.answers;
  if (waiting <= 0) return "";
  return ngettext(
    "The audit gives its verdict after %(num)s more answer; it raises the alarm before, if it must.",
    "The audit gives its verdict after %(num)s more answers; it raises the alarm before, if it must.",
    waiting,
  );
}

function drawConfidences({ evidence, auto_labels: auto }) {
  const pool = evidence?.pool;
  show(byId("sure"), Boolean(pool?.images));
  show(byId("sure-empty"), !pool?.images);
  if (!pool?.images) return;
  const { histogram, unsure_below: below, unsure_share: share } = pool;
  const threshold = auto.on ? evidence.threshold : null;
  const most = Math.sqrt(Math.max(...histogram));
  const bars = histogram.map((images, at) => {
    const [low, high] = [at / histogram.length, (at + 1) / histogram.length];
    const kind = high <= below + 1e-9 ? "unsure" : threshold !== null && low >= threshold ? "taken" : "";
    return make("span", { class: kind, style: { height: `${(100 * Math.sqrt(images)) / most}%` }, title: ngettext("%(low)s to %(high)s: %(num)s image", "%(low)s to %(high)s: %(num)s images", images, { low: low.toFixed(2), high: high.toFixed(2) }) });
  });
  const lines = [mark(below, _("below %(share)s", { share: below }), "left")];
  if (threshold !== null) lines.push(mark(threshold, _("threshold"), "left high"));
  byId("sure-bars").replaceChildren(...bars, ...lines);
  const text = ngettext(
    "%(share)s of %(num)s image without a person’s label is predicted with a confidence below %(below)s.",
    "%(share)s of %(num)s images without a person’s label are predicted with a confidence below %(below)s.",
    pool.images,
    { share: percent(share), below },
  );
  byId("sure-text").textContent = text;
  byId("sure-bars").setAttribute("aria-label", `${text} ${_("Heights are square roots.")}`);
}

function mark(at, text, name) {
  return make("i", { class: `mark ${name}`, style: { left: percent(at, 2) } }, make("b", { text }));
}

function drawRest(state) {
  const left = unlabelled(state) - state.images.unreadable;
  const { project } = state;
  const offered = (project.state === "finished" || project.state === "paused") && state.round !== null && left > 0 && !project.labelling_rest;
  show(byId("rest"), offered);
  byId("rest-note").textContent = ngettext(
    "%(num)s image of the pool has no label, of a person or of the model.",
    "%(num)s images of the pool have no label, of a person or of the model.",
    left,
  );
}
