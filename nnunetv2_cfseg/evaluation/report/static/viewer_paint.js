// Paint: what bytes look like. Pixels are of 32 bit, red in the lowest byte, as ImageData has them on today's chips.

const MISSED = 1;
const INVENTED = 2;
const CONFUSED = 3;
/** Red, blue and yellow differ in lightness too, for those who do not see all colours. */
const ERROR_COLOURS = { [MISSED]: "#ff4f30", [INVENTED]: "#3f8cff", [CONFUSED]: "#f7e13b" };
/** Behind labels that come without a CT. */
const PLAIN_GREY = 38;

function pixel(red, green, blue, alpha = 255) {
  return ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

/** "#rrggbb" and an opacity from 0 to 1 -> pixel. */
function colourPixel(colour, opacity) {
  const [red, green, blue] = [1, 3, 5].map((start) => parseInt(colour.slice(start, start + 2), 16));
  return pixel(red, green, blue, Math.round(255 * opacity));
}

/** The grey of each of the 256 levels. */
function windowPixels(levels, level, width) {
  return Uint32Array.from(levels, (hu) => {
    const grey = clamp(Math.round((255 * (hu - level + width / 2)) / width), 0, 255);
    return pixel(grey, grey, grey);
  });
}

/**
 * The class that each label value is shown as, counted from 1, among those that are not hidden; 0 is none.
 * Among regions that share a value the one of the fewest values wins, the later of two equals.
 */
function shownClasses(classes, hidden) {
  const table = new Uint8Array(256);
  const order = classes.map((_, i) => i).sort((a, b) => classes[b].values.length - classes[a].values.length || a - b);
  for (const i of order) {
    if (!hidden.has(i)) for (const value of classes[i].values) table[value] = i + 1;
  }
  return table;
}

/** What is wrong at each place of a slice that is shown as these classes, 0 if nothing is or if it is to be ignored. */
function errorKinds(shown, truth, ignore) {
  return truth.map((value, i) => (value === ignore ? 0 : errorKind(shown.truth[i], shown.prediction[i])));
}

function errorKind(truth, prediction) {
  if (truth === prediction) return 0;
  if (prediction === 0) return MISSED;
  return truth === 0 ? INVENTED : CONFUSED;
}

/**
 * Outlines of the classes of a slice along the edges of its pixels.
 * @returns {Map<number, Path2D>} by class, in pixels of the slice
 */
function outlines(shown, columns, rows) {
  const paths = new Map();
  const line = (of, x0, y0, x1, y1) => {
    if (!of) return;
    if (!paths.has(of)) paths.set(of, new Path2D());
    paths.get(of).moveTo(x0, y0);
    paths.get(of).lineTo(x1, y1);
  };
  const at = (x, y) => (x < 0 || y < 0 || x >= columns || y >= rows ? 0 : shown[y * columns + x]);
  traceEdges(
    rows,
    columns,
    (y, x) => [at(x, y - 1), at(x, y)],
    (of, y, x0, x1) => line(of, x0, y, x1, y),
  );
  traceEdges(
    columns,
    rows,
    (x, y) => [at(x - 1, y), at(x, y)],
    (of, x, y0, y1) => line(of, x, y0, x, y1),
  );
  return paths;
}

/** Edges along one direction; those that follow each other become one line. */
function traceEdges(lines, length, sidesOf, draw) {
  for (let line = 0; line <= lines; line++) {
    for (const side of [0, 1]) {
      let start = 0;
      let current = 0;
      for (let place = 0; place <= length; place++) {
        const sides = place < length ? sidesOf(line, place) : [0, 0];
        const of = sides[0] === sides[1] ? 0 : sides[side];
        if (of === current) continue;
        draw(current, line, start, place);
        start = place;
        current = of;
      }
    }
  }
}
