/**
 * Where every text that scripts show passes through, as `services/ui/words.py` is for pages: another language is a
 * catalogue in the page, `<script id="words" type="application/json">`, by the English text. `pybabel extract` finds
 * the calls of both functions. `%(name)s` stands for a value.
 */

const found = document.getElementById("words");
const catalogue = found ? JSON.parse(found.textContent) : {};

const filled = (text, values) => text.replace(/%\((\w+)\)s/g, (whole, name) => String(values[name] ?? whole));

export const _ = (text, values = {}) => filled(catalogue[text] ?? text, values);

/** `number` is written into `%(num)s`. A catalogue gives both forms as a list. */
export function ngettext(one, many, number, values = {}) {
  const [first, other] = catalogue[one] ?? [one, many];
  return filled(number === 1 ? first : other, { num: number.toLocaleString(), ...values });
}

/** The text as it is, marked for translation where it is shown. */
export const N_ = (text) => text;
