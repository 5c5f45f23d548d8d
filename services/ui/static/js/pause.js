/** What stands in place of images while there are none: why, and what happens next. */

import { byId, make, setMeter, show } from "./dom.js";
import { signInPath } from "./http.js";
import { _, ngettext } from "./words.js";

export const STARTING = { title: "", text: "" };
export const OFFLINE = { title: _("No connection"), text: _("Your answers are kept here. This page goes on when the connection is back.") };
export const SENDING = { title: _("Sending your last answers"), text: _("The next images follow.") };
export const BROKEN = { title: _("This image can't be shown"), text: _("Skip it to go on.") };
export const SIGNED_OUT = {
  title: _("You were signed out"),
  text: _("Nothing is lost: sign in again and your answers are sent."),
  action: () => make("a", { class: "button primary", href: signInPath(), text: _("Sign in") }),
};

export function showPause({ title, text, fine = "", share = null, action = null }) {
  show(byId("pause"), title !== "");
  byId("pause-title").textContent = title;
  byId("pause-text").textContent = text;
  byId("pause-fine").textContent = fine;
  setMeter(byId("pause-meter"), share);
  byId("pause-action").replaceChildren(...(action ? [action()] : []));
}

/** Why there is no image, with the time at which one returns as it is on this clock. */
export function describe(waiting, project) {
  if (!waiting) return SENDING;
  const parts = [waiting.what];
  if (waiting.held && waiting.next_return) {
    const time = new Date(waiting.next_return).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    parts.push(ngettext("%(num)s image is with others; the next returns by %(time)s.", "%(num)s images are with others; the next returns by %(time)s.", waiting.held, { time }));
  }
  const finished = waiting.reason === "finished";
  return {
    title: finished ? _("All done. Thank you.") : _("Nothing to label just now"),
    text: parts.filter(Boolean).join(" "),
    fine: finished ? "" : _("This page goes on by itself."),
    share: waiting.progress,
    action: () => make("a", { class: "button", href: `/projects/${project}`, text: _("See the project") }),
  };
}
