/**
 * The tasks that this page holds: the one on show and those to come.
 *
 * It asks for more in time, has their images loaded and decoded, renews the leases while somebody is here, and gives
 * them back when the page is left.
 */

import { Unreachable, post } from "./http.js";

const AHEAD = 5;
const REFILL_BELOW = 4;
const ASK_AGAIN_MS = 2_000;
const MOST_AT_ONCE = 50;
/** After so long without a key or a touch the leases are left to lapse, so that others get the images. */
const AWAY_MS = 15 * 60_000;
const LOAD_TRIES = 4;

const nameOf = (task) => `${task.task_id}:${task.fence}`;
const leaseOf = ({ task_id, fence }) => ({ task_id, fence });

export class Keeper {
  /**
   * `events` gets `changed()` when there is something new to show, `progress(progress, mark)` with what `mark()` gave
   * when it was asked for, `waiting(waiting)` when there is no task, `unreachable()`, `signedOut()`, `failed(detail)`
   * and `lost(count)`.
   */
  constructor(project, leaseSeconds, outbox, events) {
    this.base = `/v1/projects/${project}/leases`;
    this.remembered = `winnow.leases.${project}`;
    this.outbox = outbox;
    this.events = events;
    this.queue = [];
    this.done = new Set(outbox.entries.map(nameOf)); // answered before this page was opened, perhaps not yet sent
    this.asking = false;
    this.lastSeen = Date.now();
    setInterval(() => this.#renewUnlessAway(), (leaseSeconds * 1000) / 3);
    addEventListener("online", () => this.fill());
    addEventListener("pagehide", () => this.#release());
    addEventListener("pageshow", (event) => event.persisted && location.reload());
    document.addEventListener("visibilitychange", () => !document.hidden && this.renew());
  }

  get current() {
    return this.queue[0] ?? null;
  }

  /** Begin. The page that was here before in this tab may have had no time to give its tasks back. */
  async start() {
    const left = JSON.parse(sessionStorage.getItem(this.remembered) ?? "[]");
    sessionStorage.removeItem(this.remembered);
    if (left.length) await post(`${this.base}/release`, { leases: left }).catch(() => {});
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
    return task;
  }

  /** Put a task on show before all others: one that came back from the service, or whose answer was never sent. */
  putFirst(task) {
    this.done.delete(nameOf(task));
    this.queue = this.queue.filter((one) => one.task_id !== task.task_id);
    this.queue.unshift(withPicture(task, this.events.changed));
    this.events.changed();
  }

  /** Ask for tasks if few are left, and go on asking while there are none. */
  async fill() {
    if (this.asking || this.queue.length >= REFILL_BELOW) return;
    clearTimeout(this.again);
    this.asking = true;
    try {
      // The service hands out first what is held already, and that includes what is answered but not yet sent.
      const wanted = Math.min(AHEAD + 1 + this.outbox.size, MOST_AT_ONCE);
      const mark = this.events.mark();
      this.#take(await post(this.base, { count: wanted }), mark);
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error;
      if (!this.queue.length) this.events.unreachable();
    } finally {
      this.asking = false;
    }
    if (this.queue.length < REFILL_BELOW) this.again = setTimeout(() => this.fill(), ASK_AGAIN_MS);
  }

  async renew() {
    const asked = [...this.queue, ...this.outbox.entries].map(leaseOf);
    if (!asked.length) return this.fill();
    const result = await post(`${this.base}/renew`, { leases: asked }).catch(() => null);
    if (!result?.ok) return undefined;
    const held = new Set(result.data.held);
    const gone = new Set(asked.filter((one) => !held.has(one.task_id)).map(nameOf));
    const kept = this.queue.filter((one) => !gone.has(nameOf(one)));
    const lost = this.queue.length - kept.length;
    if (lost) {
      this.queue = kept;
      this.events.lost(lost);
      this.events.changed();
    }
    return this.fill();
  }

  #take(result, mark) {
    if (result.status === 401) return this.events.signedOut();
    if (!result.ok) return this.events.failed(result.data.detail ?? `error ${result.status}`);
    for (const task of result.data.tasks) this.#admit(task);
    this.events.progress(result.data.progress, mark);
    if (!this.queue.length) this.events.waiting(result.data.waiting);
    return this.events.changed();
  }

  #admit(task) {
    const known = this.queue.find((one) => one.task_id === task.task_id);
    if (known) {
      known.fence = task.fence;
    } else if (!this.done.has(nameOf(task)) && !this.outbox.holds(task.task_id, task.fence)) {
      this.queue.push(withPicture(task, this.events.changed));
    }
  }

  #renewUnlessAway() {
    if (Date.now() - this.lastSeen < AWAY_MS) this.renew();
  }

  /**
   * The page is being left. If it is only reloaded, the new page may ask before this has arrived: so it is left a
   * note to give the same leases back first, after which this, being late, changes nothing.
   */
  #release() {
    const leases = this.queue.map(leaseOf);
    if (!leases.length) return;
    sessionStorage.setItem(this.remembered, JSON.stringify(leases));
    navigator.sendBeacon(`${this.base}/release`, new Blob([JSON.stringify({ leases })], { type: "application/json" }));
  }
}

/** The task with `picture`, an image element, and `look`: "loading", "ready" to be shown at once, or "broken". */
function withPicture(task, changed) {
  if (task.picture) return task;
  const kept = { ...task, look: "loading" };
  load(kept, changed, 1);
  return kept;
}

async function load(task, changed, attempt) {
  const picture = new Image();
  picture.alt = "The image to label";
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
