/** What the machines do: the loss of the training under way or of the last one, jobs that run and jobs that failed. */

import { byId, make, setMeter, show } from "./dom.js";
import { axis, plot } from "./plot.js";
import { _, ngettext } from "./words.js";

const KINDS = () => ({ embed: _("Preparing images"), train: _("Training"), score: _("Looking at the pool"), select: _("Choosing images"), predict: _("Answering callers"), map: _("Drawing the map") });
const nameOf = (kind) => KINDS()[kind] ?? kind;

export function drawTraining(state, figures) {
  drawLoss(state, figures);
  drawJobs(state);
}

/** The training under way, as far as it has come; else the one that made the newest model. */
function drawLoss(state, figures) {
  const job = state.jobs.find((one) => one.kind === "train");
  const live = job?.detail.losses;
  const epochs = live ? live.map(([epoch, loss, holdout_loss]) => ({ epoch, loss, holdout_loss })) : (figures?.losses ?? []);
  show(byId("loss"), epochs.length > 0);
  show(byId("loss-empty"), epochs.length === 0 && figures !== null);
  const last = epochs.at(-1);
  if (!last) return void (byId("loss-note").textContent = "");
  byId("loss-note").textContent = live
    ? _("now: epoch %(epoch)s of %(epochs)s, loss %(loss)s", { epoch: job.detail.epoch, epochs: job.detail.epochs, loss: last.loss.toFixed(3) })
    : _("of the newest model, which ended at %(loss)s", { loss: last.loss.toFixed(3) });
  byId("loss").setAttribute("aria-label", byId("loss-note").textContent);
  plot("loss", epochs, (colours) => {
    const line = (name, key, colour, dash) => ({ name, x: epochs.map((one) => one.epoch), y: epochs.map((one) => one[key]), mode: epochs.length < 3 ? "markers" : "lines", line: { color: colour, width: 2, dash }, hovertemplate: "%{y:.3f}" });
    const traces = [line(_("labels, as augmented"), "loss", colours.accent, "solid")];
    if (epochs.some((one) => one.holdout_loss !== null)) traces.push(line(_("holdout"), "holdout_loss", colours.warn, "dash"));
    return { traces, layout: { xaxis: { ...axis(colours, _("epoch")), showgrid: false, nticks: 8 }, yaxis: { ...axis(colours), rangemode: "tozero", nticks: 5 }, hovermode: "x unified", showlegend: true } };
  });
}

function drawJobs({ jobs, queued }) {
  byId("jobs-note").textContent = queued ? ngettext("%(num)s more job waits for a worker", "%(num)s more jobs wait for a worker", queued) : "";
  const none = make("li", { class: "muted", text: queued ? _("No worker has begun yet.") : _("The machines rest: people are needed, or all is done.") });
  byId("jobs").replaceChildren(...(jobs.length ? jobs.map(running) : [none]));
}

function running(job) {
  const meter = make("div", { class: "meter small" }, make("span"));
  setMeter(meter, job.progress);
  const { images, of, epoch, epochs, stage } = job.detail;
  const notes = [];
  if (epoch !== undefined) notes.push(_("epoch %(epoch)s of %(epochs)s", { epoch, epochs }));
  if (stage !== undefined && stage !== "model") notes.push(stage);
  if (images !== undefined && of !== undefined) notes.push(_("%(done)s of %(total)s images", { done: images.toLocaleString(), total: of.toLocaleString() }));
  if (job.worker) notes.push(_("on %(worker)s", { worker: job.worker }));
  return make("li", {}, make("span", { class: "job-name", text: nameOf(job.kind) }), meter,
    make("span", { class: "n", text: `${Math.round(100 * job.progress)}%` }), make("span", { class: "muted", text: notes.join(" · ") }));
}

export function drawFailed({ failed }) {
  show(byId("failed-card"), failed.length > 0);
  byId("failed").replaceChildren(...failed.map((job) =>
    make("li", { class: "failed" }, make("span", { class: "job-name", text: nameOf(job.kind) }), make("pre", { text: job.error ?? _("no error was recorded") }),
      make("span", { class: "muted", text: ngettext("after %(num)s attempt", "after %(num)s attempts", job.attempts) }))));
}
