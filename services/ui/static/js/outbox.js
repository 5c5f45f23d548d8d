/**
 * Answers on their way to the service.
 *
 * Every answer is kept in localStorage, under a key of its own, until the service has taken or refused it: neither a
 * reload nor a lost connection loses one. They are sent in order, one at a time. Sending one twice is harmless, since
 * the service knows it by its idempotency key.
 */

import { Unreachable, post } from "./http.js";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;

/** 128 random bits. crypto.randomUUID is missing on pages that came over plain HTTP. */
function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Outbox {
  /**
   * `events` gets `changed()`, `sent(entry, data)`, `refused(entry, status, detail)` and `signedOut()`.
   */
  constructor(project, user, events) {
    this.base = `/v1/projects/${project}`;
    this.prefix = `winnow.outbox.${user}.${project}.`;
    this.events = events;
    this.entries = this.#load();
    this.wait = FIRST_WAIT_MS;
    this.sending = null;
    addEventListener("online", () => this.#sendSoon(0));
    this.#sendSoon(0);
  }

  get size() {
    return this.entries.length;
  }

  /** Take an answer (`kind: "answer"`) or a skip (`kind: "skip"`); returns it with its key. */
  add(entry) {
    const kept = { ...entry, key: newKey(), at: Date.now(), attempted: false };
    this.entries.push(kept);
    this.#save(kept);
    this.events.changed();
    this.#sendSoon(0);
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

  /** Whether this lease was answered here and not yet sent. */
  holds(taskId, fence) {
    return this.entries.some((one) => one.task_id === taskId && one.fence === fence);
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
    this.#save(entry);
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
    this.#forget(entry);
    if (result.ok) this.events.sent(entry, result.data);
    else this.events.refused(entry, result.status, result.data.detail ?? "");
    return true;
  }

  #deliver(entry) {
    const task = `${this.base}/tasks/${entry.task_id}`;
    if (entry.kind === "skip") return post(`${task}/skip`, { fence: entry.fence });
    const { fence, class_id, duration_ms } = entry;
    return post(`${task}/annotation`, { fence, class_id, duration_ms }, { "Idempotency-Key": entry.key });
  }

  #later() {
    this.events.changed();
    this.#sendSoon(this.wait);
    this.wait = Math.min(2 * this.wait, LONGEST_WAIT_MS);
    return false;
  }

  #forget(entry) {
    this.entries = this.entries.filter((one) => one.key !== entry.key);
    this.#storage((kept) => kept.removeItem(this.prefix + entry.key));
    this.events.changed();
  }

  #save(entry) {
    this.#storage((kept) => kept.setItem(this.prefix + entry.key, JSON.stringify(entry)));
  }

  #load() {
    const found = [];
    this.#storage((kept) => {
      for (const name of Object.keys(kept)) {
        if (name.startsWith(this.prefix)) found.push(JSON.parse(kept.getItem(name)));
      }
    });
    return found.sort((a, b) => a.at - b.at);
  }

  /** Without storage (a private window, a full disk) answers are kept for as long as the page lives. */
  #storage(use) {
    try {
      use(localStorage);
    } catch (error) {
      console.warn("answers can't be kept in this browser", error);
    }
  }
}
