/** What is on a map: the points that the service sends, and the groups by which they are coloured and filtered. */

const SURE = 200;
const STEPS = [0, 0.2, 0.4, 0.6, 0.8, 1];
export const NONE = -1;

/** The columns of `/map/points`, as services/ui/map.py packs them. */
export function unpack(buffer) {
  const count = buffer.byteLength / 24;
  let at = 0;
  const column = (Kind) => {
    const found = new Kind(buffer, at, count);
    at += found.byteLength;
    return found;
  };
  return {
    count,
    ids: column(Float64Array), xs: column(Float32Array), ys: column(Float32Array),
    labels: column(Int16Array), predicted: column(Int16Array), rounds: column(Int16Array),
    confidence: Float32Array.from(column(Uint8Array), (value) => value / SURE), sources: column(Uint8Array),
  };
}

/**
 * The groups of a way to colour, and of each point its group's number. A group has a name, a colour as three bytes, how
 * many points it has, and whether it is shown. `none`: the group that is drawn below all others, if there is one.
 */
export function groupsBy(mode, points, page, words, colours) {
  const made = BY[mode](points, page, words, colours);
  const counts = new Uint32Array(made.groups.length);
  for (const group of made.of) counts[group] += 1;
  made.groups.forEach((group, at) => Object.assign(group, { count: counts[at], on: true }));
  return made;
}

const ofClasses = (column, page, words, colours) => ({
  of: Uint16Array.from(column, (value) => (value === NONE ? page.classes.length : value)),
  groups: [...page.classes.map((one) => ({ name: one.name, colour: bytes(one.colour) })), { name: words.none, colour: colours.none }],
  none: page.classes.length,
});

const BY = {
  label: (points, ...rest) => ofClasses(points.labels, ...rest),
  prediction: (points, ...rest) => ofClasses(points.predicted, ...rest),
  confidence: (points, page, words, colours) => ({
    of: Uint16Array.from(points.confidence, (value) => Math.min(4, Math.floor(value * 5))),
    groups: colours.ramp.map((colour, at) => ({
      name: words.sure.replace("%from", `${100 * STEPS[at]}`).replace("%to", `${100 * STEPS[at + 1]}`), colour,
    })),
    none: null,
  }),
  source: (points, page, words, colours) => ({
    of: Uint16Array.from(points.sources),
    groups: [...page.sources.map((one, at) => ({ name: words[one], colour: colours.kinds[at] })), { name: words.none, colour: colours.none }],
    none: page.sources.length,
  }),
  tag: (points, page, words, colours) => {
    const several = page.tags.length;
    const given = new Map();
    page.tags.forEach((tag, place) => {
      for (const id of tag.image_ids) given.set(id, given.has(id) ? several : place);
    });
    return {
      of: Uint16Array.from(points.ids, (id) => given.get(id) ?? several + 1),
      groups: [
        ...page.tags.map((one) => ({ name: one.name, colour: bytes(one.colour) })),
        { name: words.several, colour: colours.other }, { name: words.no_tag, colour: colours.none },
      ],
      none: several + 1,
    };
  },
  round: (points, page, words, colours) => {
    const given = [...new Set(points.rounds)].filter((one) => one !== NONE).sort((a, b) => a - b);
    const place = new Map(given.map((one, at) => [one, at]));
    const none = given.length + 1;
    return {
      of: Uint16Array.from(points.rounds, (one, at) =>
        one === NONE ? (points.labels[at] === NONE ? none : given.length) : place.get(one)),
      groups: [
        ...given.map((one, at) => ({ name: words.round.replace("%n", one), colour: along(colours.ramp, given.length > 1 ? at / (given.length - 1) : 1) })),
        { name: words.no_round, colour: colours.other }, { name: words.none, colour: colours.none },
      ],
      none,
    };
  },
};

/** `#a1b2c3` as three bytes. */
export function bytes(colour) {
  return [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
}

/** A colour between those of a ramp; `share` from 0 to 1. */
function along(ramp, share) {
  const place = share * (ramp.length - 1);
  const from = Math.min(ramp.length - 2, Math.floor(place));
  return ramp[from].map((value, part) => Math.round(value + (ramp[from + 1][part] - value) * (place - from)));
}

/** The colours that the sheet names, as it has them now. */
export function sheetColours() {
  const style = getComputedStyle(document.documentElement);
  const named = (name) => bytes(style.getPropertyValue(`--${name}`).trim());
  return {
    none: named("point-none"), other: named("point-other"), ink: named("ink"),
    ramp: [1, 2, 3, 4, 5].map((at) => named(`ramp-${at}`)),
    kinds: [1, 2, 3, 4].map((at) => named(`kind-${at}`)),
  };
}

/** Whether a place lies within a line around: a ray from it crosses the line an odd number of times. */
export function isWithin(x, y, line) {
  let within = false;
  for (let at = 0, before = line.length - 1; at < line.length; before = at, at += 1) {
    const [ax, ay] = line[at];
    const [bx, by] = line[before];
    if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) within = !within;
  }
  return within;
}
