/** Labels over time by their source, and what they take: pace, cost, what is left. */

import { byId, make, show } from "./dom.js";
import { axis, plot } from "./plot.js";
import { _, ngettext } from "./words.js";

const SOURCES = ["human", "consensus", "import", "model"];
const called = () => ({ human: _("a person"), consensus: _("several people"), import: _("an import"), model: _("the model") });

/** Whole hours, or days of eight where there are many. */
export function hoursOf(labels, pace) {
  const hours = labels / pace;
  if (hours < 1) return ngettext("%(num)s minute", "%(num)s minutes", Math.max(1, Math.round(60 * hours)));
  if (hours < 20) return ngettext("%(num)s hour", "%(num)s hours", Math.round(hours));
  return ngettext("%(num)s working day", "%(num)s working days", Math.round(hours / 8));
}

/** An amount of money, as the reader's language writes it. */
export function money({ price, currency }, answers) {
  const digits = price * answers < 100 ? 2 : 0;
  try {
    return (price * answers).toLocaleString([], { style: "currency", currency, minimumFractionDigits: digits, maximumFractionDigits: digits });
  } catch {
    return `${(price * answers).toFixed(digits)} ${currency}`;
  }
}

export function drawGrowth(figures) {
  const growth = figures?.growth ?? null;
  show(byId("growth"), growth !== null);
  show(byId("growth-empty"), figures !== null && growth === null);
  if (growth) drawSources(growth);
  if (figures) drawEffort(figures.effort);
}

function drawSources({ ends, labels }) {
  const names = called();
  const there = SOURCES.filter((source) => labels[source]);
  const said = there.map((source) => `${names[source]}: ${labels[source].at(-1).toLocaleString()}`).join(", ");
  byId("growth").setAttribute("aria-label", said);
  byId("growth-note").textContent = said;
  plot("growth", [ends, labels], (colours) => {
    const colour = { human: colours.accent, consensus: colours.ink, import: colours.strong, model: colours.warn };
    const traces = there.map((source) => ({
      x: ends, y: labels[source], name: names[source], stackgroup: "all", mode: "lines",
      line: { color: colour[source], width: 1.5, shape: "hv" }, hovertemplate: "%{y:,}",
    }));
    const layout = { xaxis: { ...axis(colours), showgrid: false, nticks: 6 }, yaxis: { ...axis(colours), rangemode: "tozero", nticks: 5 }, hovermode: "x unified", showlegend: there.length > 1 };
    return { traces, layout };
  });
}

function drawEffort(effort) {
  const { answers, pace, left, until } = effort;
  const paid = effort.price !== null;
  const facts = [
    [_("Answers by people"), answers.toLocaleString()],
    [_("Pace"), pace === null ? "–" : _("%(labels)s an hour", { labels: Math.round(pace).toLocaleString() })],
    [_("Cost so far"), paid ? money(effort, answers) : "–"],
    [until === "budget" ? _("Until the budget is spent") : _("Until the target"), left === null ? "–" : ngettext("%(num)s label", "%(num)s labels", left)],
    [_("That takes about"), left === null || pace === null ? "–" : hoursOf(left, pace)],
    [_("and costs about"), left === null || !paid ? "–" : money(effort, left)],
  ];
  byId("effort").replaceChildren(...facts.map(([name, figure]) => make("div", {}, make("dt", { text: name }), make("dd", { text: figure }))));
  const why = [_("The pace is that of the newest labels of the last fortnight, all people together, without the times at which nobody labelled.")];
  if (!paid) why.push(_("The cost appears once the settings say what an answer costs."));
  byId("effort-why").textContent = why.join(" ");
}
