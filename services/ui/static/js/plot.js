/** Plotly as this service uses it: in the page's own colours and letters, drawn again only when something changed. */

import { byId } from "./dom.js";

const drawn = new Map();

export function theme() {
  const style = getComputedStyle(document.documentElement);
  const value = (name) => style.getPropertyValue(name).trim();
  return {
    ink: value("--ink"), muted: value("--muted"), line: value("--line"), accent: value("--accent"),
    band: value("--accent-band"), surface: value("--surface"), warn: value("--warn"), strong: value("--line-strong"),
    font: getComputedStyle(document.body).fontFamily,
  };
}

/** `make(colours)` gives traces and layout. What is not on show is left for when it is. */
export function plot(id, content, make) {
  const element = byId(id);
  if (!window.Plotly || !element.checkVisibility()) return;
  const colours = theme();
  const now = JSON.stringify([content, colours, element.clientWidth]);
  if (drawn.get(id) === now) return;
  drawn.set(id, now);
  const { traces, layout } = make(colours);
  window.Plotly.react(element, traces, { ...common(colours), ...layout }, { displayModeBar: false, responsive: true, doubleClick: false });
}

export const axis = ({ line, muted }, title) => ({
  gridcolor: line, linecolor: line, zeroline: false, tickfont: { color: muted, size: 12 }, fixedrange: true,
  ...(title ? { title: { text: title, font: { color: muted, size: 12 }, standoff: 8 } } : {}),
});

function common({ ink, surface, line, font }) {
  return {
    margin: { l: 48, r: 24, t: 14, b: 44 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: font, color: ink, size: 13 },
    hoverlabel: { bgcolor: surface, bordercolor: line, font: { family: font, color: ink, size: 13 } },
    legend: { orientation: "h", x: 0, y: 1.14, font: { size: 12 } },
    dragmode: false,
  };
}
