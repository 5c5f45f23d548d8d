/** What the review pages say, with names and numbers put in. The texts are in the page. */

import { embedded } from "./dom.js";

const { words } = embedded("page");

/** The text of a name; with a `count` in `values` the form that goes with it. */
export function say(name, values = {}) {
  const many = values.count !== undefined && values.count !== 1 && words[`${name}_many`];
  const shown = (key) => (typeof values[key] === "number" ? values[key].toLocaleString() : values[key]);
  return (many || words[name]).replace(/\{(\w+)\}/g, (_, key) => shown(key));
}

export const percent = (share) => `${Math.round(100 * share)}%`;

/** A share of many, that is not said to be all of them when it is not. */
export const fine = (part, whole) => {
  if (!whole) return "–";
  const tenths = Math.round((1000 * part) / whole) / 10;
  return part < whole && tenths === 100 ? "> 99.9%" : `${tenths}%`;
};
