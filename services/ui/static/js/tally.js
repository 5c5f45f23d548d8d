/** What was done: answers, pace, time, and how far the round is. */

import { byId, setMeter } from "./dom.js";
import { _, ngettext } from "./words.js";

const PACE_OVER = 20;
const PACE_AFTER_MS = 10_000;
const PAUSE_MS = 60_000;
const MINUTE_MS = 60_000;

export class Tally {
  constructor(outbox, clock) {
    this.outbox = outbox;
    this.clock = clock;
    this.answered = 0;
    this.progress = null;
    this.since = 0;
    this.moves = 0;
    this.times = [];
    setInterval(() => this.#drawTime(), 1_000);
  }

  /** So many answers more. */
  add(answers) {
    this.#count(answers);
    const now = performance.now();
    this.times = [...this.times, ...Array(answers).fill(now)].slice(-Math.max(PACE_OVER, 2 * answers));
  }

  /** So many less: taken back, or refused. */
  remove(answers) {
    this.#count(-answers);
    this.times.splice(-answers, answers);
  }

  #count(change) {
    this.answered = Math.max(0, this.answered + change);
    this.since += change;
    this.moves += 1;
  }

  /** `asked`: what `moves` was when the service was asked. Its count is behind if an answer was on its way since. */
  learn(news, asked) {
    if (asked === this.moves && !this.outbox.size) this.answered = news.answered_by_me;
    const known = this.progress;
    const sameStep = known && ["round", "step", "total"].every((key) => known[key] === news[key]);
    this.progress = sameStep ? { ...news, done: Math.max(news.done, known.done + this.since) } : news;
    this.since = 0;
  }

  draw() {
    byId("answered").textContent = this.answered.toLocaleString();
    this.#drawTime();
    this.#drawProgress();
    this.drawSent();
  }

  drawSent() {
    const waiting = this.outbox.size;
    const line = byId("sent");
    line.classList.toggle("late", waiting > 2);
    line.textContent = waiting ? ngettext("%(num)s answer waiting to be sent", "%(num)s answers waiting to be sent", waiting) : this.answered ? _("Every answer is saved") : "";
  }

  #drawTime() {
    const minutes = Math.floor(this.clock.total / MINUTE_MS);
    const time = minutes ? ` · ${_("%(number)s min", { number: minutes })}` : "";
    byId("pace").textContent = this.clock.isIdle ? `${time} · ${_("paused")}` : `${this.#pace()}${time}`;
  }

  #pace() {
    const times = this.times.filter((at) => performance.now() - at < PAUSE_MS);
    if (times.length < 5) return "";
    const took = times.at(-1) - times[0];
    return took > PACE_AFTER_MS ? ` · ${_("%(number)s a minute", { number: Math.round(((times.length - 1) * 60_000) / took) })}` : "";
  }

  #drawProgress() {
    const { progress } = this;
    if (!progress) return;
    const counted = progress.unit === "labels" && progress.total !== null;
    const done = counted ? Math.max(0, Math.min(progress.total, progress.done + this.since)) : null;
    const step = counted ? _("%(done)s of %(total)s", { done: done.toLocaleString(), total: progress.total.toLocaleString() }) : progress.step;
    byId("round-text").textContent = [progress.round === null ? "" : _("Round %(number)s", { number: progress.round }), step].filter(Boolean).join(" · ");
    setMeter(byId("round-meter"), counted ? done / progress.total : progress.share);
  }
}
