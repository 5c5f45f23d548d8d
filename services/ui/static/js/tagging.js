/** The field of tags and its two buttons, where a script does what they say. */

import { byId, make } from "./dom.js";
import { onPress } from "./notices.js";

/** `change(action, name)` puts a tag on what is chosen ("tag") or takes it off ("untag"), says so, and tells whether. */
export function listenForTags(change) {
  const field = byId("tag");
  const press = async (action) => {
    const name = field.value.trim();
    if (!name) return field.focus();
    const isNew = ![...byId("tags").options].some((one) => one.value === name);
    if ((await change(action, name)) && action === "tag" && isNew) byId("tags").append(make("option", { value: name }));
    return undefined;
  };
  onPress(byId("put-tag"), () => press("tag"));
  onPress(byId("take-tag"), () => press("untag"));
  field.addEventListener("keydown", (event) => event.key === "Enter" && press("tag"));
}
