/** The guidelines beside the image: what the project says, and what each class looks like. Fetched when first opened. */

import { byId, make, show } from "./dom.js";
import { Unreachable, get } from "./http.js";
import { _ } from "./words.js";

export class Guide {
  constructor(project, classes) {
    this.path = `/v1/projects/${project}/guidelines`;
    this.project = project;
    this.classes = new Map(classes.map((one) => [one.id, one]));
    this.panel = byId("guide");
    this.button = byId("guide-button");
    byId("guide-close").addEventListener("click", () => this.toggle());
  }

  async toggle() {
    const opens = this.panel.hidden;
    show(this.panel, opens);
    this.button.setAttribute("aria-expanded", String(opens));
    if (opens && !this.drawn) await this.#fetch();
  }

  async #fetch() {
    try {
      const result = await get(this.path);
      if (!result.ok) return;
      this.drawn = true;
      this.#draw(result.data);
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error;
      byId("guide-body").replaceChildren(make("p", { class: "muted", text: _("No connection just now. Open this again in a moment.") }));
    }
  }

  #draw({ text, classes }) {
    const paragraphs = text.split(/\n{2,}/).filter((part) => part.trim());
    const shown = classes.filter((one) => one.description || one.examples.length);
    byId("guide-body").replaceChildren(
      ...paragraphs.map((part) => make("p", { class: "told", text: part.trim() })),
      ...shown.map((one) => this.#class(one)),
      ...(text.trim() ? [] : [this.#howTo()]),
    );
  }

  #class({ class_id, description, examples, picked }) {
    const { name, colour, hotkey } = this.classes.get(class_id);
    const title = make("h3", {}, make("span", { class: "swatch", "aria-hidden": "true" }), make("span", { text: name }));
    if (hotkey) title.append(make("kbd", { text: hotkey.replace("shift+", "⇧") }));
    const pictures = examples.map((image) => {
      const picture = make("img", { src: image.url, alt: _("An example of %(name)s", { name }), loading: "lazy" });
      if (Math.max(image.width, image.height) <= 64) picture.classList.add("pixels");
      return picture;
    });
    return make(
      "section",
      { class: "guide-class", style: { "--colour": colour } },
      title,
      ...(description ? [make("p", { text: description })] : []),
      ...(pictures.length ? [make("div", { class: "examples" }, ...pictures)] : []),
      ...(pictures.length && !picked ? [make("p", { class: "fine", text: _("Images that people labelled so.") })] : []),
    );
  }

  /** A project without guidelines says how it gets some. */
  #howTo() {
    const call = `curl -X PATCH -H "Authorization: Bearer $KEY" -H "Content-Type: application/json" \\
  $API/v1/projects/${this.project}/guidelines -d '{
    "text": "${_("Label what is in the middle.")}",
    "classes": [{"class": "${[...this.classes.values()][0].name}", "description": "...", "examples": [17, 23]}]}'`;
    return make(
      "section",
      { class: "guide-class" },
      make("h3", { text: _("This project has no guidelines yet") }),
      make("p", { text: _("Two sentences on what to do in doubtful cases save many wrong labels. Whoever leads the project adds them, with a key that may manage it; examples are ids of images:") }),
      make("pre", { text: call, tabindex: "0" }),
    );
  }
}
