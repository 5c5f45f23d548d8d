/** Small dialogs about the image on show: to whom to pass it on, and what to flag about it. */

import { byId, closeDialog, show } from "./dom.js";
import { _ } from "./words.js";

/** `choose(way, reason)` is called with what was chosen. Digits choose, here too. */
export class PassOn {
  constructor(choose) {
    this.choose = choose;
    this.dialog = byId("pass");
    for (const button of this.dialog.querySelectorAll("[data-way], [data-reason]")) {
      button.addEventListener("click", () => this.#take(button.dataset));
    }
    this.dialog.addEventListener("keydown", (event) => this.#onKey(event));
    byId("pass-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#take({ reason: byId("pass-other").value.trim() });
    });
  }

  open() {
    this.#step(false);
    byId("pass-other").value = "";
    this.dialog.showModal();
  }

  #take({ way, reason }) {
    if (way === "cannot_tell") return this.#step(true);
    closeDialog(this.dialog);
    return this.choose(way ?? "cannot_tell", reason ?? "");
  }

  /** First to whom, then, for who can't tell, why. */
  #step(why) {
    show(byId("pass-ways"), !why);
    show(byId("pass-why"), why);
    byId("pass-title").textContent = why ? _("Why can’t you tell?") : _("Pass this image on");
    this.dialog.querySelector("section:not([hidden]) button")?.focus();
  }

  #onKey(event) {
    if (event.target.matches("input") || !/^[1-9]$/.test(event.key)) return;
    const buttons = this.dialog.querySelectorAll("section:not([hidden]) [data-way], section:not([hidden]) [data-reason]");
    event.preventDefault();
    event.stopPropagation(); // once this is closed the page would take the digit for an answer
    buttons[Number(event.key) - 1]?.click();
  }
}

/** `flag(note)` is called with what was written. */
export class FlagNote {
  constructor(flag) {
    this.dialog = byId("flag");
    this.note = byId("flag-note");
    byId("flag-form").addEventListener("submit", (event) => {
      event.preventDefault();
      closeDialog(this.dialog);
      flag(this.note.value.trim());
    });
    byId("flag-cancel").addEventListener("click", () => closeDialog(this.dialog));
    this.note.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      event.stopPropagation();
      byId("flag-form").requestSubmit();
    });
  }

  open() {
    this.note.value = "";
    this.dialog.showModal();
    this.note.focus();
  }
}
