/**
 * What annotators said, on its way to the service.
 *
 * Everything is kept on disk, under a key of its own, until the service has taken or refused it: neither a reload nor a
 * lost connection loses any. It is sent in order, one request at a time. Sending something twice is harmless, since the
 * service knows it by its idempotency key.
 *
 * An entry has a `kind`: `answer`, `answers` (many at once), `skip`, `flag`, `change` (of an answer given before),
 * `review` (what a reviewer says of many images), or `decision` (on an image about which people differ).
 */

import { afterPaint } from "./dom.js";
import { Unreachable, post } from "./http.js";
import { Kept } from "./kept.js";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;

/** 128 random bits. crypto.randomUUID is missing on pages that came over plain HTTP. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const answersIn = (entry) => (entry.answers ?? entry.verdicts ?? [entry]).length;

export class Outbox {
  /**
   * With what is still to be sent from before. `events` gets `changed()`, `sent(entry, data)`,
   * `refused(entry, status, detail)`, `signedOut()`, and `delayed()` each time that it could not be sent; it may have
   * `wanted()`, how many tasks to ask for along with an answer.
   */
  static async open(project, user, events) {
    const kept = new Kept(`winnow.outbox.${user}.${project}.`);
    return new Outbox(project, kept, await kept.load(), events);
  }

  constructor(project, kept, entries, events) {
    this.base = `/v1/projects/${project}`;
    this.kept = kept;
    this.events = events;
    this.entries = entries.sort((a, b) => a.at - b.at);
    for (const entry of this.entries) entry.attempted ||= entry.recovered;
    this.wait = FIRST_WAIT_MS;
    this.sending = null;
    addEventListener("online", () => this.#sendSoon(0));
    setTimeout(() => this.#send(), 0);
  }

  /** How many answers, skips and flags wait. */
  get size() {
    return this.entries.reduce((sum, entry) => sum + answersIn(entry), 0);
  }

  /** The leases that what waits was given under. */
  get leases() {
    return this.entries
      .flatMap((entry) => (entry.kind === "answers" ? entry.answers : [entry]))
      .filter((one) => one.task_id && one.fence !== undefined)
      .map(({ task_id, fence }) => ({ task_id, fence }));
  }

  /** Take something to be sent; returns it with its key. */
  add(entry) {
    const kept = { ...entry, key: newKey(), at: Date.now(), attempted: false };
    this.entries.push(kept);
    this.kept.save(kept);
    this.events.changed();
    afterPaint(() => this.#sendSoon(0));
    return kept;
  }

  /**
   * Take one back that was never sent; false if it was, even in vain: the service may have heard it, so that only
   * the service can take it back.
   */
  withdraw(key) {
    const entry = this.entries.find((one) => one.key === key);
    if (!entry || entry.attempted) return false;
    this.#forget(entry);
    return true;
  }

  has(key) {
    return this.entries.some((one) => one.key === key);
  }

  /** Resolves when the attempt under way, if any, has ended. */
  async attemptEnded() {
    await this.sending;
  }

  #sendSoon(delay) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#send(), delay);
  }

  async #send() {
    if (this.sending) return;
    while (this.entries.length) {
      this.sending = this.#attempt(this.entries[0]);
      const goOn = await this.sending;
      this.sending = null;
      if (!goOn) return;
    }
  }

  /** Send one; true if the next may follow. */
  async #attempt(entry) {
    entry.attempted = true;
    this.kept.save(entry);
    let result;
    try {
      result = await this.#deliver(entry);
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error;
      return this.#later();
    }
    if (result.status === 401) {
      this.events.signedOut();
      return this.#later();
    }
    if (result.status === 429 || result.status >= 500) return this.#later();
    this.wait = FIRST_WAIT_MS;
    this.#settle(entry, result);
    return true;
  }

  #settle(entry, result) {
    const following = this.entries.filter((one) => one.of === entry.key);
    if (result.ok) {
      for (const one of following) one.annotation_id = result.data.annotation_id;
      for (const one of following) this.kept.save(one);
    } else {
      for (const one of following) this.#forget(one); // the answer that it would change is not recorded
    }
    this.#forget(entry);
    if (result.ok) this.events.sent(entry, result.data);
    else this.events.refused(entry, result.status, result.data.detail ?? "");
  }

  #deliver(entry) {
    const key = { "Idempotency-Key": entry.key };
    const task = `${this.base}/tasks/${entry.task_id}`;
    const { fence, class_id, duration_ms } = entry;
    const lease = this.events.wanted?.() || undefined;
    switch (entry.kind) {
      case "skip":
        return post(`${task}/skip`, { fence, way: entry.way, reason: entry.reason });
      case "flag":
        return post(`${this.base}/flags`, { image_id: entry.image_id, note: entry.note }, key);
      case "change":
        return post(`${this.base}/annotations/${entry.annotation_id}/change`, { class_id }, key);
      case "answers":
        return post(`${this.base}/answers`, { answers: entry.answers });
      case "decision":
        return post(`${this.base}/adjudication/${entry.question_id}`, { class_id, duration_ms }, key);
      case "review":
        return post(`${this.base}/review/verdicts`, { verdicts: entry.verdicts }, key);
      default:
        return post(`${task}/annotation`, { fence, class_id, duration_ms, lease }, key);
    }
  }

  #later() {
    this.events.changed();
    this.events.delayed?.();
    this.#sendSoon(this.wait);
    this.wait = Math.min(2 * this.wait, LONGEST_WAIT_MS);
    return false;
  }

  #forget(entry) {
    this.entries = this.entries.filter((one) => one.key !== entry.key);
    this.kept.forget(entry.key);
    this.events.changed();
  }
}
