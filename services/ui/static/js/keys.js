/** From a key press to what is meant by it. */

const DIGIT = /^(?:Digit|Numpad)(\d)$/;

/**
 * The hotkey as classes name it: a character, or `shift+<digit>`. Digits go by their place on the keyboard, so that
 * they work on layouts that have other characters there.
 */
function hotkeyOf(event) {
  const digit = DIGIT.exec(event.code)?.[1];
  if (digit !== undefined) return event.shiftKey ? `shift+${digit}` : digit;
  return event.key.length === 1 ? event.key.toLowerCase() : "";
}

/** Whether the key press is for something else: a field, a button reached with Tab, a shortcut of the browser. */
function isElsewhere(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return true;
  if (document.querySelector("dialog[open]")) return true;
  if (event.target.closest("input, textarea, select, [contenteditable]")) return true;
  const pressesButton = event.key === " " || event.key === "Enter";
  return pressesButton && event.target.closest("button, a") !== null && event.target.matches(":focus-visible");
}

/** `actions`: `answer(classId)`, `undo()`, `skip()`, `help()`. A key held down counts once. */
export function listen(classes, actions) {
  const byHotkey = new Map(classes.filter((one) => one.hotkey).map((one) => [one.hotkey, one.id]));
  addEventListener("keydown", (event) => {
    if (isElsewhere(event)) return;
    const classId = byHotkey.get(hotkeyOf(event));
    const action =
      classId !== undefined
        ? () => actions.answer(classId)
        : { Backspace: actions.undo, " ": actions.skip, "?": actions.help }[event.key];
    if (!action) return;
    event.preventDefault();
    if (!event.repeat) action();
  });
}
