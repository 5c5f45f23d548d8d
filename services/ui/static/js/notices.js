/** Short words to who labels: for the eye, and for who listens to the page. */

import { byId, show } from "./dom.js";

const TOAST_MS = 4_000;
let toastTimer;

export function toast(text) {
  const line = byId("toast");
  line.textContent = text;
  show(line, true);
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => show(line, false), TOAST_MS);
}

export const announce = (text) => (byId("announcer").textContent = text);

export function flash(button) {
  if (!button) return;
  button.classList.remove("pressed");
  requestAnimationFrame(() => button.classList.add("pressed"));
  setTimeout(() => button.classList.remove("pressed"), 180);
}

/** A button for the pointer: it does not keep the focus, so that Space and Enter go on meaning what they mean. */
export function onPress(button, action) {
  button.addEventListener("click", () => {
    if (!button.matches(":focus-visible")) button.blur();
    action();
  });
}
