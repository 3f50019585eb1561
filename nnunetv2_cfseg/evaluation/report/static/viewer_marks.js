// Marks that are drawn over a slice, in CSS pixels of its canvas.

const LINE = 1.6;
const HALO = 3.2;
const CROSSHAIR_GAP = 9;
const FONT = "600 13px system-ui, sans-serif";
const SCALE_BARS_MM = [1, 2, 5, 10, 20, 50, 100, 200, 500];
const INK = "#f2f4f6";

/** Lines of classes; a dark halo keeps them visible on bone. */
function drawOutline(context, path, { colour, dash }) {
  stroke(context, path, "rgb(0 0 0 / 45%)", HALO);
  context.setLineDash(dash);
  stroke(context, path, colour, LINE);
  context.setLineDash([]);
}

/** Two lines that leave out the place where they would meet. */
function drawCrosshair(context, [x, y], { clientWidth, clientHeight }) {
  const path = new Path2D();
  for (const [x0, y0, x1, y1] of [
    [0, y, x - CROSSHAIR_GAP, y],
    [x + CROSSHAIR_GAP, y, clientWidth, y],
    [x, 0, x, y - CROSSHAIR_GAP],
    [x, y + CROSSHAIR_GAP, x, clientHeight],
  ]) {
    path.moveTo(x0, y0);
    path.lineTo(x1, y1);
  }
  stroke(context, path, "rgb(120 205 255 / 60%)", 1);
}

/** Letters for the patient's right, left, anterior, posterior, superior and inferior side. */
function drawSides(context, [left, right, top, bottom], { clientWidth, clientHeight }) {
  write(context, left, 7, clientHeight / 2, "left", "middle");
  write(context, right, clientWidth - 7, clientHeight / 2, "right", "middle");
  write(context, top, clientWidth / 2, 6, "center", "top");
  write(context, bottom, clientWidth / 2, clientHeight - 6, "center", "bottom");
}

/** The longest of the usual lengths that is at most a third of the view; `scale` is in pixels a mm. */
function drawScaleBar(context, scale, { clientWidth, clientHeight }) {
  const mm = SCALE_BARS_MM.findLast((length) => length * scale <= clientWidth / 3) ?? SCALE_BARS_MM[0];
  const right = clientWidth - 10;
  const bottom = clientHeight - 10;
  const path = new Path2D(`M${right - mm * scale} ${bottom - 5}v5H${right}v-5`);
  stroke(context, path, "rgb(0 0 0 / 70%)", 4);
  stroke(context, path, INK, 1.6);
  write(context, `${mm} mm`, right, bottom - 8, "right", "bottom");
}

function stroke(context, path, colour, width) {
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.stroke(path);
}

function write(context, text, x, y, align, baseline) {
  Object.assign(context, { font: FONT, textAlign: align, textBaseline: baseline, lineJoin: "round" });
  context.strokeStyle = "rgb(0 0 0 / 75%)";
  context.lineWidth = 3;
  context.strokeText(text, x, y);
  context.fillStyle = INK;
  context.fillText(text, x, y);
}
