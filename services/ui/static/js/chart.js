/** The learning curve: accuracy on the holdout by number of labels, with its 95% interval as a band. */

import { byId, show } from "./dom.js";

let drawn = "";

export function drawCurve(state) {
  const points = state.rounds.filter((round) => round.accuracy);
  show(byId("curve"), points.length > 0);
  show(byId("curve-empty"), points.length === 0);
  if (!points.length) {
    byId("curve-empty").textContent = state.labels.holdout
      ? "The first point appears when the first model is trained."
      : "There is no labelled holdout to measure on yet.";
    return;
  }
  byId("curve-note").textContent = `on ${points.at(-1).accuracy.n.toLocaleString()} holdout images, with 95% Wilson intervals`;
  const colours = theme();
  const now = JSON.stringify([points, colours, state.project.target_accuracy]);
  if (now === drawn || !window.Plotly) return;
  drawn = now;
  window.Plotly.react(byId("curve"), traces(points, colours), layout(points, colours, state.project.target_accuracy), {
    displayModeBar: false,
    responsive: true,
    doubleClick: false,
  });
}

function theme() {
  const style = getComputedStyle(document.documentElement);
  const value = (name) => style.getPropertyValue(name).trim();
  return {
    ink: value("--ink"), muted: value("--muted"), line: value("--line"), accent: value("--accent"),
    band: value("--accent-band"), surface: value("--surface"), font: getComputedStyle(document.body).fontFamily,
  };
}

function traces(points, { accent, band, surface }) {
  const x = points.map((one) => one.labels);
  const edge = { mode: "lines", line: { width: 0 }, hoverinfo: "skip", showlegend: false };
  return [
    { ...edge, x, y: points.map((one) => one.accuracy.low) },
    { ...edge, x, y: points.map((one) => one.accuracy.high), fill: "tonexty", fillcolor: band },
    {
      x,
      y: points.map((one) => one.accuracy.value),
      mode: "lines+markers",
      line: { color: accent, width: 2.5 },
      marker: { color: accent, size: 8, line: { color: surface, width: 2 } },
      customdata: points.map((one) => [one.number, one.accuracy.low, one.accuracy.high]),
      hovertemplate: "Round %{customdata[0]}: <b>%{y:.1%}</b> with %{x:,} labels<br>%{customdata[1]:.1%} to %{customdata[2]:.1%}<extra></extra>",
      showlegend: false,
    },
  ];
}

function layout(points, { ink, muted, line, accent, surface, font }, target) {
  const last = points.at(-1);
  const axis = { gridcolor: line, linecolor: line, zeroline: false, tickfont: { color: muted, size: 12 }, fixedrange: true };
  const lowest = Math.min(...points.map((one) => one.accuracy.low), target ?? 1);
  return {
    margin: { l: 48, r: 72, t: 14, b: 44 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: font, color: ink, size: 13 },
    hoverlabel: { bgcolor: surface, bordercolor: line, font: { family: font, color: ink, size: 13 } },
    xaxis: { ...axis, showgrid: false, title: { text: "labels", font: { color: muted, size: 12 }, standoff: 8 }, rangemode: "tozero", nticks: 8 },
    yaxis: { ...axis, tickformat: ".0%", range: [Math.max(0, lowest - 0.05), 1.005], nticks: 6, showline: false },
    shapes: target ? [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: target, y1: target, line: { color: muted, width: 1, dash: "dot" } }] : [],
    annotations: [
      ...(target ? [{ xref: "paper", x: 0, y: target, text: `target ${(100 * target).toFixed(0)}%`, showarrow: false, xanchor: "left", yanchor: "top", font: { color: muted, size: 12 } }] : []),
      {
        x: last.labels, y: last.accuracy.value, text: `<b>${(100 * last.accuracy.value).toFixed(1)}%</b>`,
        showarrow: false, xanchor: "left", yanchor: "middle", xshift: 9, font: { color: accent, size: 15 },
      },
    ],
    dragmode: false,
  };
}
