/** What a reviewer decides, on its way to the service, and taking it back. */

import { byId, make, show } from "./dom.js";
import { Unreachable, post, signInPath } from "./http.js";
import { toast } from "./notices.js";
import { Outbox } from "./outbox.js";
import { say } from "./review_words.js";

const STEPS_KEPT = 20;

export class Sender {
  /** `recorded()` is called when the service has taken something, or given it back. */
  static async open(page, recorded) {
    const sender = new Sender(page, recorded);
    sender.outbox = await Outbox.open(page.project, page.user, {
      changed: () => sender.draw(),
      sent: () => sender.#sent(),
      refused: (entry, status, detail) => sender.#refused(entry, detail),
      signedOut: () => sender.#signedOut(),
    });
    addEventListener("online", () => sender.draw());
    addEventListener("offline", () => sender.draw());
    sender.draw();
    return sender;
  }

  constructor(page, recorded) {
    Object.assign(this, { page, recorded, steps: [], some: false, restore: () => {} });
  }

  /** These images are of the classes that `classOf(shot)` names. At most as many as one request may hold. */
  decide(shots, classOf) {
    const verdicts = shots.map((shot) => ({ image_id: shot.id, class_id: classOf(shot) }));
    const { key } = this.outbox.add({ kind: "review", verdicts });
    this.steps = [...this.steps, { key, shots }].slice(-STEPS_KEPT);
    this.some = true;
    this.draw();
  }

  /** Ids of images whose decision the service may not have heard. */
  get onTheWay() {
    return this.outbox.entries.flatMap((entry) => (entry.verdicts ?? []).map((one) => one.image_id));
  }

  async undo() {
    const step = this.steps.at(-1);
    if (!step) return toast(say("undo_none"));
    if (this.undoing) return undefined;
    this.undoing = true;
    try {
      if (!(await this.#takenBack(step))) return undefined;
      this.steps = this.steps.filter((one) => one !== step);
      this.restore(step.shots);
      this.recorded();
      return toast(say("undone", { count: step.shots.length }));
    } finally {
      this.undoing = false;
    }
  }

  async #takenBack(step) {
    if (this.outbox.withdraw(step.key)) return true;
    if (this.outbox.has(step.key)) await this.outbox.attemptEnded();
    if (this.outbox.has(step.key)) return void toast(say("undo_wait"));
    try {
      const result = await post(`/v1/projects/${this.page.project}/review/undo`, { key: step.key });
      if (result.status === 401) this.#signedOut();
      if (!result.ok) toast(result.data.detail ?? say("undo_refused"));
      return result.ok;
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error;
      return void toast(say("undo_offline"));
    }
  }

  #sent() {
    show(byId("trouble"), false);
    this.recorded();
  }

  #refused(entry, detail) {
    const step = this.steps.find((one) => one.key === entry.key);
    this.steps = this.steps.filter((one) => one !== step);
    if (step) this.restore(step.shots);
    toast(say("refused", { detail }));
  }

  #signedOut() {
    const line = byId("trouble");
    line.replaceChildren(`${say("signed_out")} `, make("a", { href: signInPath(), text: say("sign_in") }));
    show(line, true);
  }

  draw() {
    if (!this.outbox) return;
    const count = this.outbox.size;
    const tried = this.outbox.entries.some((entry) => entry.attempted) && !this.outbox.sending;
    const line = byId("sent");
    line.classList.toggle("late", count > 0 && tried);
    const waiting = count ? say("waiting", { count }) : this.some ? say("saved") : "";
    line.textContent = count && (tried || !navigator.onLine) ? `${waiting}. ${say("offline")}` : waiting;
  }
}
