/** How the classes fare: their labels, their accuracy by round, and which is taken for which. */

import { byId, make, show } from "./dom.js";
import { _, ngettext } from "./words.js";

const percent = (share) => (share === null || share === undefined ? "–" : `${Math.round(100 * share)}%`);
const MOST_ROUNDS = 12;
const MOST_CLASSES = 12;
/** A larger matrix is a wall: its pairs are listed instead. */
const MOST_IN_MATRIX = 25;
const MOST_PAIRS = 8;
let all = false;

export function drawClasses(state, figures) {
  drawBars(state);
  drawRecalls(state, figures?.recalls ?? []);
  drawMatrix(state, figures?.confusion ?? null);
  drawPairs(state, figures);
  byId("recalls-all").onclick = () => {
    all = !all;
    drawRecalls(state, figures?.recalls ?? []);
  };
}

function drawBars(state) {
  const most = Math.max(1, ...state.classes.map((one) => one.labels));
  const draw = (one) => {
    const right = one.accuracy === null ? "" : _("%(share)s right", { share: percent(one.accuracy) });
    const bar = make("span", { class: "bar-of" }, make("span", { style: { width: `${(100 * one.labels) / most}%`, background: one.colour } }));
    return make("li", {}, make("span", { class: "name", text: one.name, title: one.name }), bar,
      make("span", { class: "n", text: one.labels.toLocaleString() }), make("span", { class: "right", text: right }));
  };
  byId("classes").replaceChildren(...state.classes.map(draw));
  const [least, greatest] = [Math.min(...state.classes.map((one) => one.labels)), most];
  byId("classes-note").textContent = greatest > 1 ? _("the rarest has %(least)s, the commonest %(most)s", { least: least.toLocaleString(), most: greatest.toLocaleString() }) : "";
}

function drawRecalls(state, recalls) {
  const shown = recalls.slice(-MOST_ROUNDS);
  show(byId("recalls-card"), shown.length > 0);
  if (!shown.length) return;
  const last = shown.at(-1).recalls;
  const order = state.classes.map((one, at) => ({ ...one, at })).sort((a, b) => (last[a.at] ?? 2) - (last[b.at] ?? 2));
  const rows = all ? order : order.slice(0, MOST_CLASSES);
  const head = make("tr", {}, make("th", { scope: "col", text: _("Class") }), ...shown.map((one) => make("th", { scope: "col", class: "n", text: _("round %(number)s", { number: one.round }) })));
  const cell = (share) => make("td", { class: "n", text: percent(share), style: share === null ? {} : { "--share": `${Math.round(Math.max(0, 200 * (share - 0.5)))}%` } });
  const body = rows.map((one) => make("tr", {}, make("th", { scope: "row", text: one.name }), ...shown.map((round) => cell(round.recalls[one.at] ?? null))));
  byId("recalls").replaceChildren(make("thead", {}, head), make("tbody", {}, ...body));
  byId("recalls-note").textContent = _("share of its holdout images that the model gets right; the weakest first");
  show(byId("recalls-all"), order.length > MOST_CLASSES);
  byId("recalls-all").textContent = all ? _("Only the weakest") : ngettext("All %(num)s class", "All %(num)s classes", order.length);
}

/** Where the images of a cell are, or null where they can't be found any more. */
function imagesOf(state, confusion, row, column) {
  const [truth, said] = [state.classes[row].id, state.classes[column].id];
  return confusion.browsable ? `/projects/${state.project.id}/images?split=holdout&class=${truth}&said=${said}` : null;
}

function describe(state, row, column, images) {
  const [truth, said] = [state.classes[row].name, state.classes[column].name];
  return row === column
    ? ngettext("%(num)s image of %(truth)s that the model recognised", "%(num)s images of %(truth)s that the model recognised", images, { truth })
    : ngettext("%(num)s image of %(truth)s that the model took for %(said)s", "%(num)s images of %(truth)s that the model took for %(said)s", images, { truth, said });
}

function drawMatrix(state, confusion) {
  const fits = confusion !== null && state.classes.length <= MOST_IN_MATRIX;
  show(byId("matrix-card"), fits);
  if (!fits) return;
  const name = (one) => make("th", { scope: "col", text: one.name, title: one.name });
  const head = make("tr", {}, make("th", { scope: "col", text: _("Truth") }), ...state.classes.map(name), make("th", { scope: "col", class: "n", text: _("Images") }));
  const rows = confusion.counts.map((counts, row) => {
    const sum = counts.reduce((a, b) => a + b, 0);
    const cells = counts.map((images, column) => {
      const shade = Math.round((10 * images) / Math.max(1, sum));
      const cell = make("td", { class: `n ${row === column ? "right" : "wrong"} shade-${shade}` });
      const href = imagesOf(state, confusion, row, column);
      if (!images) return cell;
      const text = images.toLocaleString();
      const said = describe(state, row, column, images);
      cell.append(href ? make("a", { href, text, title: said, "aria-label": said }) : text);
      return cell;
    });
    return make("tr", {}, make("th", { scope: "row", text: state.classes[row].name }), ...cells, make("td", { class: "n", text: sum.toLocaleString() }));
  });
  byId("matrix").replaceChildren(make("thead", {}, head), make("tbody", {}, ...rows));
  byId("matrix-note").textContent = confusion.browsable
    ? _("round %(round)s on the holdout: a row is the truth, a column what the model says; a number opens its images", { round: confusion.round })
    : _("round %(round)s on the holdout: a row is the truth, a column what the model says", { round: confusion.round });
}

function drawPairs(state, figures) {
  const confusion = figures?.confusion ?? null;
  const pairs = (confusion?.counts ?? []).flatMap((counts, row) => counts.map((images, column) => ({ row, column, images })));
  const wrong = pairs.filter((one) => one.row !== one.column && one.images > 0).sort((a, b) => b.images - a.images).slice(0, MOST_PAIRS);
  const draw = ({ row, column, images }) => {
    const href = imagesOf(state, confusion, row, column);
    const text = describe(state, row, column, images);
    return make("li", {}, href ? make("a", { href, text }) : make("span", { text }));
  };
  const none = confusion ? _("Nothing: every image of the holdout is recognised.") : _("This appears once a model is measured on the holdout.");
  byId("confused").replaceChildren(...(wrong.length ? wrong.map(draw) : [make("li", { class: "muted", text: none })]));
  byId("confused-note").textContent = confusion ? _("by the model of round %(round)s, on the holdout", { round: confusion.round }) : "";
}
