/** The learning curve: accuracy on the holdout by number of labels, its 95% interval as a band, and where it is going. */

import { byId, show } from "./dom.js";
import { axis, plot } from "./plot.js";
import { _ } from "./words.js";

export function drawCurve(state, ahead) {
  const points = state.rounds.filter((round) => round.accuracy);
  show(byId("curve"), points.length > 0);
  show(byId("curve-empty"), points.length === 0);
  if (!points.length) {
    byId("curve-empty").textContent = state.labels.holdout
      ? _("The first point appears when the first model is trained.")
      : _("There is no labelled holdout to measure on yet.");
    return;
  }
  const images = points.at(-1).accuracy.n.toLocaleString();
  byId("curve-note").textContent = ahead.length
    ? _("measured on %(images)s holdout images, band: 95% interval; dashed: where it is going, band: 90% interval", { images })
    : _("measured on %(images)s holdout images, band: 95% interval", { images });
  const target = state.project.target_accuracy;
  plot("curve", [points, ahead, target], (colours) => ({ traces: traces(points, ahead, colours), layout: layout(points, ahead, colours, target) }));
}

const EDGE = { mode: "lines", line: { width: 0 }, hoverinfo: "skip", showlegend: false };

/** Two edges with what is between them filled. */
const band = (x, low, high, fillcolor) => [
  { ...EDGE, x, y: low },
  { ...EDGE, x, y: high, fill: "tonexty", fillcolor },
];

function traces(points, ahead, { accent, band: fill, surface }) {
  const x = points.map((one) => one.labels);
  const to = ahead.map((one) => one.labels);
  const coming = ahead.length
    ? [
        ...band(to, ahead.map((one) => one.low), ahead.map((one) => one.high), fill.replace(/[\d.]+\)$/, "0.07)")),
        {
          x: to, y: ahead.map((one) => one.accuracy), mode: "lines", line: { color: accent, width: 2, dash: "dash" }, showlegend: false,
          customdata: ahead.map((one) => [one.low, one.high]),
          hovertemplate: `${_("Forecast")}: <b>%{y:.1%}</b>, %{x:,}<br>%{customdata[0]:.1%} – %{customdata[1]:.1%}<extra></extra>`,
        },
      ]
    : [];
  return [
    ...coming,
    ...band(x, points.map((one) => one.accuracy.low), points.map((one) => one.accuracy.high), fill),
    {
      x,
      y: points.map((one) => one.accuracy.value),
      mode: "lines+markers",
      line: { color: accent, width: 2.5 },
      marker: { color: accent, size: 8, line: { color: surface, width: 2 } },
      customdata: points.map((one) => [one.number, one.accuracy.low, one.accuracy.high]),
      hovertemplate: `${_("Round")} %{customdata[0]}: <b>%{y:.1%}</b>, %{x:,}<br>%{customdata[1]:.1%} – %{customdata[2]:.1%}<extra></extra>`,
      showlegend: false,
    },
  ];
}

function layout(points, ahead, colours, target) {
  const { muted, accent } = colours;
  const last = points.at(-1);
  const lowest = Math.min(...points.map((one) => one.accuracy.low), target ?? 1);
  const now = { color: accent, size: 15 };
  return {
    margin: { l: 48, r: ahead.length ? 24 : 72, t: 14, b: 44 },
    xaxis: { ...axis(colours, _("labels")), showgrid: false, rangemode: "tozero", nticks: 8 },
    yaxis: { ...axis(colours), tickformat: ".0%", range: [Math.max(0, lowest - 0.05), 1.005], nticks: 6, showline: false },
    shapes: target ? [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: target, y1: target, line: { color: muted, width: 1, dash: "dot" } }] : [],
    annotations: [
      ...(target ? [{ xref: "paper", x: 0, y: target, text: _("target %(share)s", { share: `${(100 * target).toFixed(0)}%` }), showarrow: false, xanchor: "left", yanchor: "bottom", font: { color: muted, size: 12 } }] : []),
      {
        x: last.labels, y: last.accuracy.value, text: `<b>${(100 * last.accuracy.value).toFixed(1)}%</b>`, showarrow: false,
        ...(ahead.length ? { xanchor: "center", yanchor: "top", yshift: -12 } : { xanchor: "left", yanchor: "middle", xshift: 9 }), font: now,
      },
    ],
  };
}
