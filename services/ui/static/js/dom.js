/** Small helpers around the document. Text is always set as text, never as markup. */

export const byId = (id) => document.getElementById(id);

/** The JSON that the server put into the page. */
export const embedded = (id) => JSON.parse(byId(id).textContent);

export function show(element, visible) {
  element.hidden = !visible;
}

/** An element with properties (`class`, `text`, `style` as an object, anything else as attribute) and children. */
export function make(tag, { class: name, text, style, ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text !== undefined) element.textContent = text;
  for (const [key, value] of Object.entries(style ?? {})) element.style.setProperty(key, value);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Do something once the next picture is on the screen, so that it does not keep it waiting. */
export function afterPaint(work) {
  if (document.hidden) setTimeout(work);
  else requestAnimationFrame(() => setTimeout(work));
}

/** Close a dialog, and have its fields let go of the keys at once: the next key press is the page's. */
export function closeDialog(dialog) {
  document.activeElement?.blur();
  dialog.close();
}

/** Set a meter to a share from 0 to 1; hide it for null. */
export function setMeter(meter, share) {
  show(meter, share !== null && share !== undefined);
  const percent = Math.round(100 * (share ?? 0));
  meter.firstElementChild.style.width = `${percent}%`;
  if (meter.hasAttribute("role")) meter.setAttribute("aria-valuenow", percent);
}
