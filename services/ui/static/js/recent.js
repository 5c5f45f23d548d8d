/** The last answers, to look back at and to take back. */

import { make, show } from "./dom.js";

export const DEPTH = 10;

export class Recent {
  /** `choose(answer)` is called for the one that is clicked. Answers are `{key, annotation_id?, class_id, image, ...}`. */
  constructor(section, list, classes, choose) {
    this.section = section;
    this.list = list;
    this.classes = new Map(classes.map((one) => [one.id, one]));
    this.choose = choose;
    this.answers = [];
  }

  get newest() {
    return this.answers.at(-1) ?? null;
  }

  add(answer) {
    this.answers = [...this.answers, answer].slice(-DEPTH);
    this.#draw();
  }

  /** The service has recorded it. */
  recorded(key, annotationId) {
    const answer = this.answers.find((one) => one.key === key);
    if (answer) answer.annotation_id = annotationId;
  }

  remove(key) {
    this.answers = this.answers.filter((one) => one.key !== key);
    this.#draw();
  }

  #draw() {
    show(this.section, this.answers.length > 0);
    this.list.replaceChildren(...this.answers.toReversed().map((answer) => this.#item(answer)));
  }

  #item(answer) {
    const { name, colour } = this.classes.get(answer.class_id) ?? { name: "?", colour: "#888888" };
    const picture = make("img", { src: answer.image.url, alt: "", width: 44, height: 44 });
    if (Math.max(answer.image.width, answer.image.height) <= 64) picture.classList.add("pixels");
    const label = `Take back: ${name}`;
    const button = make("button", { type: "button", title: label, "aria-label": label, style: { "--colour": colour } }, picture);
    button.append(make("span", { class: "name", text: name }));
    button.addEventListener("click", () => {
      button.blur();
      this.choose(answer);
    });
    return make("li", {}, button);
  }
}
