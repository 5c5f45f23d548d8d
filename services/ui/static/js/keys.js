/** From a key press to what is meant by it. */

const DIGIT = /^(?:Digit|Numpad)(\d)$/;
/** Keys that mean something else together with Shift; of others Shift is a part (`?`, `+`). */
const WITH_SHIFT = /^(?:[a-z]| |Enter|Backspace|Arrow.*)$/;

/**
 * The hotkey as classes name it: a character, or `shift+<digit>`. Digits go by their place on the keyboard, so that
 * they work on layouts that have other characters there.
 */
export function hotkeyOf(event) {
  const digit = DIGIT.exec(event.code)?.[1];
  if (digit !== undefined) return event.shiftKey ? `shift+${digit}` : digit;
  return event.key.length === 1 ? event.key.toLowerCase() : "";
}

/** The key as actions name it: `f`, `shift+b`, `?`, `Backspace`, `shift+ArrowLeft`. */
export function nameOf(event) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  return event.shiftKey && WITH_SHIFT.test(key) ? `shift+${key}` : key;
}

/** Whether the key press is for something else: a field, a button reached with Tab, a shortcut of the browser. */
function isElsewhere(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return true;
  if (document.querySelector("dialog[open]")) return true;
  if (event.target.closest("input, textarea, select, summary, [contenteditable]")) return true;
  const pressesButton = event.key === " " || event.key === "Enter";
  const target = pressesButton && event.target.closest("button, a");
  return target && !target.matches(".tile") && event.target.matches(":focus-visible");
}

/**
 * `answer(classId)` for the keys of classes, which go before the others; `actions` by the key's name. A key held down
 * counts once, unless its name is among `repeating`.
 */
export function listen(classes, answer, actions, repeating = []) {
  const byHotkey = new Map(classes.filter((one) => one.hotkey).map((one) => [one.hotkey, one.id]));
  addEventListener("keydown", (event) => {
    if (isElsewhere(event)) return;
    const classId = byHotkey.get(hotkeyOf(event));
    const name = nameOf(event);
    const action = classId !== undefined ? () => answer(classId) : actions[name];
    if (!action) return;
    event.preventDefault();
    if (!event.repeat || (classId === undefined && repeating.includes(name))) action(event);
  });
}
