/** Small galleries of the pool: what the model is least sure of, and a random sample. */

import { byId, make } from "./dom.js";
import { Unreachable, get } from "./http.js";
import { _, ngettext } from "./words.js";

export class Galleries {
  constructor(state) {
    this.base = `/v1/projects/${state.project.id}/gallery`;
    this.images = `/projects/${state.project.id}/images`;
    this.classes = new Map(state.classes.map((one) => [one.id, one]));
    this.round = undefined;
    this.seed = Math.floor(Math.random() * 2 ** 31);
    byId("random-again").addEventListener("click", () => {
      this.seed = (this.seed + 1) % 2 ** 31;
      this.#fill("random");
    });
  }

  /** Ask for both, unless they were asked for since the model of this round was there. */
  look(round) {
    if (this.round === round) return;
    this.round = round;
    this.#fill("random");
    this.#fill("unsure");
  }

  async #fill(which) {
    const list = byId(which);
    list.setAttribute("aria-busy", "true");
    try {
      const result = await get(`${this.base}?of=${which}&seed=${this.seed}`);
      if (!result.ok) throw new Unreachable(result.data.detail);
      const { shots } = result.data;
      const none = which === "unsure" ? _("This appears once a model has looked at the pool.") : _("There are no images yet.");
      list.replaceChildren(...(shots.length ? shots.map((one) => this.#shot(one)) : [make("li", { class: "muted whole-row", text: none })]));
      if (which === "unsure") byId("unsure-note").textContent = this.#about(result.data);
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error;
      this.round = undefined; // asked for again with the next news
      list.replaceChildren(make("li", { class: "muted whole-row", text: _("The images can’t be had just now.") }));
    } finally {
      list.removeAttribute("aria-busy");
    }
  }

  #about({ round, looked_at: looked, whole }) {
    if (round === null) return "";
    const images = ngettext("%(num)s image", "%(num)s images", looked);
    return whole
      ? _("by the model of round %(round)s, without a person’s label", { round })
      : _("by the model of round %(round)s, without a person’s label, of %(images)s drawn at random", { round, images });
  }

  #shot({ image_id: id, filename, small, said, confidence, label }) {
    const picture = make("img", { src: `${this.images}/${id}/thumb`, alt: filename, loading: "lazy", decoding: "async", ...(small ? { class: "pixels" } : {}) });
    const link = make("a", { class: "pick", href: `${this.images}/${id}/details` }, picture);
    const lines = [];
    if (said !== null) lines.push(this.#chip(said, `${Math.round(100 * confidence)}%`));
    if (label !== null && label !== said) lines.push(make("span", { class: "fine", text: _("labelled %(name)s", { name: this.classes.get(label)?.name ?? "" }) }));
    if (!lines.length) lines.push(make("span", { class: "fine", text: label === null ? _("no label") : this.classes.get(label)?.name ?? "" }));
    return make("li", { class: "shot" }, link, make("div", { class: "shot-text" }, ...lines));
  }

  #chip(classId, sure) {
    const one = this.classes.get(classId);
    return make("span", { class: "shot-label" }, make("span", { class: "chip", text: one?.name ?? "", style: { "--colour": one?.colour ?? "" } }), make("span", { class: "muted", text: sure }));
  }
}
