/**
 * The tasks that this page holds: the one on show and those to come.
 *
 * It asks for more in time, has their images loaded and decoded, renews the leases while somebody is here, and gives
 * them back when the page is left.
 */

import { afterPaint } from "./dom.js";
import { Unreachable, post } from "./http.js";
import { AWAY_MS, Leases } from "./leases.js";
import { _ } from "./words.js";

const AHEAD = 5;
/** So many are taken along by who expects to be without a connection. */
export const ALONG = 60;
const ASK_AGAIN_MS = 2_000;
const MOST_AT_ONCE = 100;
const LOAD_TRIES = 4;

const nameOf = (task) => `${task.task_id}:${task.fence}`;

export class Keeper {
  /**
   * `events` gets `changed()` when there is something new to show, `progress(progress, mark)` with what `mark()` gave
   * when it was asked for, `waiting(waiting)` when there is no task, `unreachable()`, `signedOut()`, `failed(detail)`
   * and `lost(count)`.
   */
  constructor(project, leaseSeconds, outbox, held, events) {
    this.base = `/v1/projects/${project}/leases`;
    this.leases = new Leases(project);
    this.outbox = outbox;
    this.held = held;
    this.away = false; // the service did not answer when it was last asked
    this.events = events;
    this.queue = [];
    this.ahead = AHEAD;
    this.done = new Set(outbox.leases.map(nameOf)); // answered before this page was opened, perhaps not yet sent
    this.asking = false;
    this.lastSeen = Date.now();
    setInterval(() => this.#renewUnlessAway(), (leaseSeconds * 1000) / 3);
    addEventListener("online", () => this.fill());
    addEventListener("pagehide", () => this.#leave());
    addEventListener("pageshow", (event) => event.persisted && location.reload());
    document.addEventListener("visibilitychange", () => !document.hidden && this.renew());
  }

  get current() {
    return this.queue[0] ?? null;
  }

  /** How many are held whose images are there, the one on show included. */
  get ready() {
    return this.queue.filter((task) => task.look === "ready").length;
  }

  async start() {
    await this.leases.giveBackRemembered();
    await this.fill();
    if (this.away && !this.queue.length) this.#goOnWithout();
  }

  /** The service is away as the page is opened: what was held when it was last left, is so still. */
  #goOnWithout() {
    for (const task of this.held.load()) this.#admit(task);
    if (this.queue.length) this.events.changed();
  }

  /** Give back what is held, but not to who can't hear it, nor what was taken along to go on without a connection. */
  #leave() {
    if (this.away || this.ahead === ALONG) return;
    this.held.save([]);
    this.leases.leave(this.queue);
  }

  /** Hold many, or the usual few: those that are too many are given back. */
  async takeAlong(many) {
    this.ahead = many ? ALONG : AHEAD;
    const surplus = this.queue.splice(this.ahead + 1);
    for (const task of surplus) this.done.add(nameOf(task));
    this.held.save(this.queue);
    if (surplus.length) await this.leases.giveBack(surplus);
    await this.fill();
  }

  /** Somebody is here. */
  seen() {
    const away = Date.now() - this.lastSeen > AWAY_MS;
    this.lastSeen = Date.now();
    if (away) this.renew();
  }

  /** The current task was dealt with: go on to the next. */
  shift() {
    const task = this.queue.shift();
    this.done.add(nameOf(task));
    afterPaint(() => this.held.save(this.queue));
    return task;
  }

  /** Put a task on show before all others: one that came back from the service, or whose answer was never sent. */
  putFirst(task) {
    this.done.delete(nameOf(task));
    this.queue = this.queue.filter((one) => one.task_id !== task.task_id);
    this.queue.unshift(withPicture(task, this.events.changed));
    this.held.save(this.queue);
    this.events.changed();
  }

  get #isShort() {
    return this.queue.length < Math.ceil(0.8 * this.ahead);
  }

  /** Many answers wait to be sent: the service would hand out their tasks first, which are of no use any more. */
  get #isBehind() {
    return this.queue.length > 0 && this.outbox.leases.length > AHEAD;
  }

  /** Ask for tasks if few are left, and go on asking while there are none. */
  async fill() {
    if (this.asking || !this.#isShort) return;
    clearTimeout(this.again);
    this.asking = true;
    try {
      // The service hands out first what is held already, and that includes what is answered but not yet sent.
      const wanted = Math.min(this.ahead + 1 + this.outbox.leases.length, MOST_AT_ONCE);
      const mark = this.events.mark();
      const result = await post(this.base, { count: wanted });
      this.away = result.status >= 500;
      this.#take(result, mark);
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error;
      this.away = true;
      if (!this.queue.length) this.events.unreachable();
    } finally {
      this.asking = false;
    }
    if (this.#isShort) this.again = setTimeout(() => this.fill(), ASK_AGAIN_MS);
  }

  /** How many to ask for along with an answer, which is still the outbox's as this is asked; 0: none. */
  wanted() {
    if (this.asking || !this.#isShort || this.#isBehind) return 0;
    return Math.min(this.ahead + this.outbox.leases.length, MOST_AT_ONCE);
  }

  /** Something was sent: `leased` is what came along with it, if that was asked for and could be had. */
  sent(leased) {
    if (!leased) return this.#isBehind ? undefined : this.fill();
    clearTimeout(this.again);
    this.away = false;
    this.#take({ ok: true, data: leased }, this.events.mark());
    if (this.#isShort) this.again = setTimeout(() => this.fill(), ASK_AGAIN_MS);
    return undefined;
  }

  async renew() {
    const asked = [...this.queue, ...this.outbox.leases];
    if (!asked.length) return this.fill();
    const gone = await this.leases.renew(asked);
    if (!gone) return undefined;
    const kept = this.queue.filter((one) => !gone.has(one.task_id));
    const lost = this.queue.length - kept.length;
    if (lost) {
      this.queue = kept;
      this.held.save(kept);
      this.events.lost(lost);
      this.events.changed();
    }
    return this.fill();
  }

  #take(result, mark) {
    if (result.status === 401) return this.events.signedOut();
    if (!result.ok) return this.events.failed(result.data.detail ?? `error ${result.status}`);
    for (const task of result.data.tasks) this.#admit(task);
    this.held.save(this.queue);
    this.events.progress(result.data.progress, mark);
    if (!this.queue.length) this.events.waiting(result.data.waiting);
    return this.events.changed();
  }

  #admit(task) {
    const known = this.queue.find((one) => one.task_id === task.task_id);
    if (known) {
      known.fence = task.fence;
    } else if (!this.done.has(nameOf(task)) && !this.outbox.leases.some((one) => nameOf(one) === nameOf(task))) {
      this.queue.push(withPicture(task, this.events.changed));
    }
  }

  #renewUnlessAway() {
    if (Date.now() - this.lastSeen < AWAY_MS) this.renew();
  }
}

/** The task with `picture`, an image element, and `look`: "loading", "ready" to be shown at once, or "broken". */
export function withPicture(task, changed) {
  if (task.picture) return task;
  const kept = { ...task, look: "loading" };
  load(kept, changed, 1);
  return kept;
}

async function load(task, changed, attempt) {
  const picture = new Image();
  picture.alt = _("The image to label");
  picture.draggable = false;
  picture.src = task.image.url;
  task.picture = picture;
  try {
    await picture.decode();
    task.look = "ready";
  } catch {
    if (attempt < LOAD_TRIES || !navigator.onLine) {
      setTimeout(() => load(task, changed, navigator.onLine ? attempt + 1 : attempt), 500 * attempt);
      return;
    }
    task.look = "broken";
  }
  changed();
}
