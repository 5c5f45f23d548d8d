/** Brightness, contrast, inversion and smoothing of what is on the stage, kept for as long as the tab is open. */

import { byId, show } from "./dom.js";

const PLAIN = { brightness: 100, contrast: 100, invert: false, smooth: null };
const STEP = 10;
const [LEAST, MOST] = [20, 300];

export class Light {
  constructor(project, canvas, stage) {
    this.name = `winnow.light.${project}`;
    this.canvas = canvas;
    this.stage = stage;
    this.values = { ...PLAIN, ...JSON.parse(sessionStorage.getItem(this.name) ?? "{}") };
    for (const part of ["brightness", "contrast"]) {
      byId(part).addEventListener("input", () => this.#set({ [part]: Number(byId(part).value) }));
      byId(part).addEventListener("pointerup", () => byId(part).blur());
    }
    byId("invert").addEventListener("change", () => this.#set({ invert: byId("invert").checked }));
    byId("smooth").addEventListener("change", () => this.#set({ smooth: byId("smooth").checked }));
    byId("light-reset").addEventListener("click", () => this.#set(PLAIN));
    this.#set({});
  }

  step(part, direction) {
    this.#set({ [part]: Math.max(LEAST, Math.min(MOST, this.values[part] + direction * STEP)) });
  }

  invert() {
    this.#set({ invert: !this.values.invert });
  }

  /** Smooth where it was crisp, or the other way round. */
  pixels() {
    this.#set({ smooth: !this.stage.isSmooth });
  }

  toggle() {
    show(byId("light"), byId("light").hidden);
    byId("light-button").setAttribute("aria-expanded", String(!byId("light").hidden));
    byId("smooth").checked = this.stage.isSmooth;
  }

  #set(change) {
    this.values = { ...this.values, ...change };
    sessionStorage.setItem(this.name, JSON.stringify(this.values));
    const { brightness, contrast, invert, smooth } = this.values;
    const plain = brightness === 100 && contrast === 100 && !invert;
    this.canvas.style.filter = plain ? "" : `brightness(${brightness}%) contrast(${contrast}%) invert(${invert ? 1 : 0})`;
    this.stage.setSmooth(smooth);
    byId("brightness").value = brightness;
    byId("contrast").value = contrast;
    byId("invert").checked = invert;
    byId("smooth").checked = this.stage.isSmooth;
    byId("light-button").classList.toggle("on", !plain || smooth !== null);
  }
}
