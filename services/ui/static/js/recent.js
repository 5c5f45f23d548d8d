/** One's own answers, the last of them to be seen and taken back, all of them to look back at. */

import { afterPaint, make, show } from "./dom.js";
import { get } from "./http.js";
import { _ } from "./words.js";

const SHOWN = 10;

export class Recent {
  /**
   * `choose(answer)` is called for the one that is clicked. Answers are `{key, annotation_id?, class_id, image, ...}`,
   * the newest last.
   */
  constructor(project, section, list, classes, choose) {
    this.path = `/v1/projects/${project}/history`;
    this.section = section;
    this.list = list;
    this.classes = new Map(classes.map((one) => [one.id, one]));
    this.choose = choose;
    this.answers = [];
    this.hasOlder = true;
  }

  get newest() {
    return this.answers.at(-1) ?? null;
  }

  find(key) {
    return this.answers.find((one) => one.key === key);
  }

  add(answer) {
    this.answers.push(answer);
    this.draw();
  }

  /** The service has recorded it. */
  recorded(key, annotationId) {
    const answer = this.find(key);
    if (answer) answer.annotation_id = annotationId;
  }

  remove(key) {
    this.answers = this.answers.filter((one) => one.key !== key);
    this.draw();
  }

  /** Ask for answers from before this page was opened. Throws `Unreachable`. */
  async fetchOlder() {
    if (!this.hasOlder) return;
    const before = this.answers.find((one) => one.annotation_id)?.annotation_id;
    const result = await get(before ? `${this.path}?before=${before}` : this.path);
    if (!result.ok) return;
    const known = new Set(this.answers.map((one) => one.image.id));
    const older = result.data.answers.filter((one) => !known.has(one.image.id));
    this.answers.unshift(...older.reverse().map((one) => ({ ...one, key: `past-${one.annotation_id}`, kind: "past" })));
    this.hasOlder = result.data.before !== null;
  }

  /** Soon: the image that is to be labelled comes first. */
  draw() {
    if (this.drawing) return;
    this.drawing = true;
    afterPaint(() => {
      this.drawing = false;
      show(this.section, this.answers.length > 0);
      this.list.replaceChildren(...this.answers.slice(-SHOWN).reverse().map((answer) => this.#item(answer)));
    });
  }

  #item(answer) {
    if (answer.item?.of === answer.class_id) return answer.item.element;
    const { name, colour } = this.classes.get(answer.class_id) ?? { name: "?", colour: "#888888" };
    const picture = make("img", { src: answer.image.url, alt: "", width: 44, height: 44 });
    if (Math.max(answer.image.width, answer.image.height) <= 64) picture.classList.add("pixels");
    const label = _("Take back: %(name)s", { name });
    const button = make("button", { type: "button", title: label, "aria-label": label, style: { "--colour": colour } }, picture);
    button.append(make("span", { class: "name", text: name }));
    button.addEventListener("click", () => {
      button.blur();
      this.choose(answer);
    });
    answer.item = { of: answer.class_id, element: make("li", {}, button) };
    return answer.item.element;
  }
}
