/** Looking back at one's own answers, one by one, with the arrow keys. */

import { Unreachable } from "./http.js";
import { withPicture } from "./keeper.js";
import { toast } from "./notices.js";
import { _ } from "./words.js";

export class LookBack {
  /** `changed()` is called when something else is to be shown. */
  constructor(recent, changed) {
    this.recent = recent;
    this.changed = changed;
    this.current = null;
  }

  /** How many answers ago the one on show was given: 1 for the newest. */
  get ago() {
    return this.recent.answers.length - this.recent.answers.indexOf(this.current);
  }

  async older() {
    const at = () => (this.current ? this.recent.answers.indexOf(this.current) : this.recent.answers.length);
    if (at() === 0) await this.#fetch();
    if (at() === 0) toast(this.recent.hasOlder ? _("No connection: older answers can't be shown just now.") : _("There is no older answer of yours."));
    else this.#show(this.recent.answers[at() - 1]);
  }

  newer() {
    if (this.current) this.#show(this.recent.answers[this.recent.answers.indexOf(this.current) + 1] ?? null);
  }

  /** Back to the image that is to be labelled. */
  leave() {
    if (this.current) this.#show(null);
  }

  #show(answer) {
    this.current = answer;
    // The task's own record stays what is kept: what loads is put into it.
    if (answer && !answer.picture) Object.assign(answer, withPicture({ image: answer.image }, () => this.#loaded(answer)));
    this.changed();
  }

  #loaded(answer) {
    answer.look = answer.picture.complete && answer.picture.naturalWidth ? "ready" : "broken";
    this.changed();
  }

  async #fetch() {
    try {
      await this.recent.fetchOlder();
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error;
    }
  }
}
