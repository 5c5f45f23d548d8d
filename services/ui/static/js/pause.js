/** What stands in place of images while there are none: why, and what happens next. */

import { byId, count, make, setMeter, show } from "./dom.js";
import { signInPath } from "./http.js";

export const STARTING = { title: "", text: "" };
export const OFFLINE = { title: "No connection", text: "Your answers are kept here. This page goes on when the connection is back." };
export const SENDING = { title: "Sending your last answers", text: "The next images follow." };
export const BROKEN = { title: "This image can't be shown", text: "Skip it to go on." };
export const SIGNED_OUT = {
  title: "You were signed out",
  text: "Nothing is lost: sign in again and your answers are sent.",
  action: () => make("a", { class: "button primary", href: signInPath(), text: "Sign in" }),
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
    parts.push(`${count(waiting.held, "image")} ${waiting.held === 1 ? "is" : "are"} with others; the next returns by ${time}.`);
  }
  const finished = waiting.reason === "finished";
  return {
    title: finished ? "All done. Thank you." : "Nothing to label just now",
    text: parts.filter(Boolean).join(" "),
    fine: finished ? "" : "This page goes on by itself.",
    share: waiting.progress,
    action: () => make("a", { class: "button", href: `/projects/${project}`, text: "See the project" }),
  };
}
