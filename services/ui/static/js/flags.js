/** The page of flags: each can be marked as seen to. */

import { byId, embedded, show } from "./dom.js";
import { Unreachable, post } from "./http.js";
import { _ } from "./words.js";

const { project } = embedded("page");

async function resolve(button) {
  button.disabled = true;
  try {
    const result = await post(`/v1/projects/${project}/flags/${button.dataset.flag}/resolve`);
    if (result.ok) button.closest("li").remove();
    else complain(result.data.detail ?? `error ${result.status}`);
  } catch (error) {
    if (!(error instanceof Unreachable)) throw error;
    complain(_("No connection. Try again in a moment."));
  } finally {
    button.disabled = false;
  }
}

function complain(text) {
  byId("trouble").textContent = text;
  show(byId("trouble"), true);
}

for (const button of byId("flags").querySelectorAll("[data-flag]")) button.addEventListener("click", () => resolve(button));
