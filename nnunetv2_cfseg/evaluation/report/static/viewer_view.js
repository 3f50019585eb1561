// A view: one plane of the case on one canvas, with its slider.

const MAX_ZOOM = 16;
/** CSS pixels. */
const LINE = 1.6;
const HALO = 3.2;
const CROSSHAIR_GAP = 9;
const FONT = "600 13px system-ui, sans-serif";
const SCALE_BARS_MM = [1, 2, 5, 10, 20, 50, 100, 200, 500];
const INK = "#f2f4f6";

class SliceView {
  /**
   * @param {HTMLElement} element `.view` of the page
   * @param {Viewer} viewer whose state it shows and changes
   */
  constructor(element, viewer) {
    this.viewer = viewer;
    this.name = element.dataset.plane;
    this.plane = PLANES[this.name];
    this.canvas = element.querySelector("canvas");
    this.slider = element.querySelector("input");
    this.number = element.querySelector(".number");
    this.scan = new Raster();
    this.paint = new Raster();
    this.drawn = "";
    this.#listen();
  }

  get axis() {
    return this.plane.through;
  }

  get at() {
    return this.viewer.state.at[this.axis];
  }

  /** Of a slice: columns and rows. */
  get #shape() {
    const { size } = this.viewer.current;
    return [size[this.plane.across], size[this.plane.down]];
  }

  /** Of a pixel of the slice: width and height in mm. */
  get #pixelMm() {
    const { spacing } = this.viewer.current;
    return [spacing[this.plane.across], spacing[this.plane.down]];
  }

  /** Width and height of a slice in mm. */
  get sizeMm() {
    return this.#shape.map((count, i) => count * this.#pixelMm[i]);
  }

  #listen() {
    const { viewer } = this;
    listenToGestures(this.canvas, {
      place: (x, y) => viewer.place(this.#voxelAt(x, y, true), this.name),
      hover: (x, y) => viewer.hover(x === null ? null : this.#voxelAt(x, y, false), this.name),
      slices: (count) => viewer.moveSlice(this.name, count),
      window: (x, y) => viewer.changeWindow(viewer.state.level + y, viewer.state.width + 2 * x),
      pan: (x, y) => viewer.pan(this.name, x / this.#scale, y / this.#scale),
      zoom: (factor, x, y) => this.#zoomAbout(factor, x, y),
      isZoomed: () => viewer.state.zoom > 1,
    });
    this.slider.addEventListener("input", () => viewer.setSlice(this.name, Number(this.slider.value)));
    this.canvas.addEventListener("focus", () => viewer.activate(this.name));
    new ResizeObserver(() => viewer.redraw()).observe(this.canvas);
  }

  /** CSS pixels a mm. */
  get #scale() {
    const [width, height] = this.sizeMm;
    const { clientWidth, clientHeight } = this.canvas;
    return Math.min(clientWidth / width, clientHeight / height) * this.viewer.state.zoom;
  }

  /** Where the slice's upper left corner lies, in CSS pixels. */
  get #corner() {
    const [width, height] = this.sizeMm;
    const [x, y] = this.viewer.state.zoom > 1 ? this.viewer.state.pan[this.name] : [0, 0];
    return [
      this.canvas.clientWidth / 2 - (width / 2 - x) * this.#scale,
      this.canvas.clientHeight / 2 - (height / 2 - y) * this.#scale,
    ];
  }

  /** The voxel [x, y, z] at a place of the canvas; outside of the slice the nearest one, or null. */
  #voxelAt(x, y, nearest) {
    const [left, top] = this.#corner;
    const [columns, rows] = this.#shape;
    const [widthMm, heightMm] = this.#pixelMm;
    const column = Math.floor((x - left) / this.#scale / widthMm);
    const row = Math.floor((y - top) / this.#scale / heightMm);
    if (!nearest && (column < 0 || row < 0 || column >= columns || row >= rows)) return null;
    const voxel = [...this.viewer.state.at];
    voxel[this.plane.across] = clamp(column, 0, columns - 1);
    voxel[this.plane.down] = flipRow(this.plane, this.viewer.current.size, clamp(row, 0, rows - 1));
    return voxel;
  }

  /** Zoom so that what lies at a place of the canvas stays there. */
  #zoomAbout(factor, x, y) {
    const { state } = this.viewer;
    const before = this.#scale;
    const [left, top] = this.#corner;
    const zoom = clamp(state.zoom * factor, 1, MAX_ZOOM);
    const after = (before * zoom) / state.zoom;
    const [width, height] = this.sizeMm;
    this.viewer.setPan(this.name, [
      (x - this.canvas.clientWidth / 2) / after + width / 2 - (x - left) / before,
      (y - this.canvas.clientHeight / 2) / after + height / 2 - (y - top) / before,
    ]);
    this.viewer.setZoom(zoom);
  }

  /** How far the view must move, in mm, so that the crosshair is in its middle. */
  get centredPan() {
    const place = this.#crosshairMm;
    return this.sizeMm.map((size, i) => size / 2 - place[i]);
  }

  /** The middle of the crosshair's voxel, from the slice's corner. */
  get #crosshairMm() {
    const { at } = this.viewer.state;
    const row = flipRow(this.plane, this.viewer.current.size, at[this.plane.down]);
    return [(at[this.plane.across] + 0.5) * this.#pixelMm[0], (row + 0.5) * this.#pixelMm[1]];
  }

  /** Draw what has changed. */
  draw() {
    const { state, current } = this.viewer;
    const { clientWidth, clientHeight } = this.canvas;
    if (!clientWidth || !clientHeight) return; // not among the views shown
    const density = globalThis.devicePixelRatio || 1;
    this.canvas.width = Math.round(clientWidth * density);
    this.canvas.height = Math.round(clientHeight * density);
    if (this.drawn !== this.#appearance) {
      this.#paintRasters();
      this.drawn = this.#appearance;
    }
    const context = this.canvas.getContext("2d");
    context.setTransform(density, 0, 0, density, 0, 0);
    this.#drawRaster(context, this.scan, state.smooth && current.hasImage);
    this.#drawRaster(context, this.paint, false);
    this.#drawOutlines(context);
    if (state.crosshair) this.#drawCrosshair(context);
    this.#drawSides(context);
    this.#drawScaleBar(context);
    this.#describe();
  }

  /** All that the rasters depend on. */
  get #appearance() {
    const { state } = this.viewer;
    return JSON.stringify([
      state.shown, this.at, state.level, state.width, state.truth, state.prediction, state.errors, state.opacity,
      [...state.hidden],
    ]); // prettier-ignore
  }

  #paintRasters() {
    const { state, volumes, current, ignore } = this.viewer;
    const [columns, rows] = this.#shape;
    const cut = (volume) => {
      const target = new Uint8Array(columns * rows);
      cutSlice(volume, { plane: this.plane, size: current.size, at: this.at, target });
      return target;
    };
    const truth = cut(volumes.truth);
    const prediction = cut(volumes.prediction);
    const table = shownClasses(this.viewer.classes, state.hidden);
    const greys = volumes.image && windowPixels(this.viewer.levels, state.level, state.width);
    const image = volumes.image && cut(volumes.image);
    const plain = pixel(PLAIN_GREY, PLAIN_GREY, PLAIN_GREY);
    this.scan.paint(columns, rows, (i) => (greys ? greys[image[i]] : plain));

    const errors = new Uint8Array(columns * rows);
    if (state.errors) markErrors(errors, truth, prediction, { table, ignore });
    const colours = this.#colours();
    this.paint.paint(columns, rows, (i) => {
      if (errors[i]) return colours.errors[errors[i]];
      const predicted = state.prediction === "fill" ? table[prediction[i]] : 0;
      return colours.classes[predicted || (state.truth === "fill" ? table[truth[i]] : 0)];
    });
    this.truthLines = state.truth === "outline" ? outlines(truth.map((v) => table[v]), columns, rows) : new Map();
    this.predictionLines =
      state.prediction === "outline" ? outlines(prediction.map((v) => table[v]), columns, rows) : new Map();
    this.present = { truth: presentClasses(truth, table), prediction: presentClasses(prediction, table) };
  }

  /** Pixels of classes from 1 and of errors; errors are the stronger ones. */
  #colours() {
    const { state, classes } = this.viewer;
    const strong = 1 - (1 - state.opacity) ** 2;
    return {
      classes: [0, ...classes.map(({ colour }) => colourPixel(colour, state.opacity))],
      errors: [0, MISSED, INVENTED, CONFUSED].map((kind) => kind && colourPixel(ERROR_COLOURS[kind], strong)),
    };
  }

  #drawRaster(context, raster, smooth) {
    const [left, top] = this.#corner;
    const [width, height] = this.sizeMm;
    context.imageSmoothingEnabled = smooth;
    context.imageSmoothingQuality = "high";
    context.drawImage(raster.canvas, left, top, width * this.#scale, height * this.#scale);
  }

  /** The truth's lines are whole, the prediction's dashed. */
  #drawOutlines(context) {
    const [left, top] = this.#corner;
    const [widthMm, heightMm] = this.#pixelMm;
    const place = new DOMMatrix([widthMm * this.#scale, 0, 0, heightMm * this.#scale, left, top]);
    for (const [lines, dash] of [[this.truthLines, []], [this.predictionLines, [4, 3]]]) {
      for (const [shown, path] of lines) {
        const placed = new Path2D();
        placed.addPath(path, place);
        context.setLineDash([]);
        stroke(context, placed, "rgb(0 0 0 / 45%)", HALO);
        context.setLineDash(dash);
        stroke(context, placed, this.viewer.classes[shown - 1].colour, LINE);
      }
    }
    context.setLineDash([]);
  }

  #drawCrosshair(context) {
    const [left, top] = this.#corner;
    const [x, y] = this.#crosshairMm.map((mm, i) => mm * this.#scale + [left, top][i]);
    const { clientWidth, clientHeight } = this.canvas;
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
  #drawSides(context) {
    const { clientWidth, clientHeight } = this.canvas;
    const [left, right, top, bottom] = this.plane.sides;
    write(context, left, 7, clientHeight / 2, "left", "middle");
    write(context, right, clientWidth - 7, clientHeight / 2, "right", "middle");
    write(context, top, clientWidth / 2, 6, "center", "top");
    write(context, bottom, clientWidth / 2, clientHeight - 6, "center", "bottom");
  }

  /** The longest of the usual lengths that is at most a third of the view. */
  #drawScaleBar(context) {
    const { clientWidth, clientHeight } = this.canvas;
    const mm = SCALE_BARS_MM.findLast((length) => length * this.#scale <= clientWidth / 3) ?? SCALE_BARS_MM[0];
    const right = clientWidth - 10;
    const bottom = clientHeight - 10;
    const path = new Path2D(`M${right - mm * this.#scale} ${bottom - 5}v5H${right}v-5`);
    stroke(context, path, "rgb(0 0 0 / 70%)", 4);
    stroke(context, path, INK, 1.6);
    write(context, `${mm} mm`, right, bottom - 8, "right", "bottom");
  }

  /** Slider, number and the words for those who do not see the canvas. */
  #describe() {
    const { state, current } = this.viewer;
    const count = current.size[this.axis];
    this.slider.max = count - 1;
    this.slider.value = this.at;
    const slice = `${this.name} slice ${this.at + 1} of ${count}`;
    this.slider.setAttribute("aria-valuetext", slice);
    this.number.textContent = `${this.at + 1} / ${count}`;
    const parts = [slice, `case ${current.name}`];
    if (current.hasImage) parts.push(`window level ${state.level} width ${state.width} HU`);
    if (state.truth !== "off") parts.push(`ground truth: ${this.#names(this.present.truth)}`);
    if (state.prediction !== "off") parts.push(`prediction: ${this.#names(this.present.prediction)}`);
    if (state.errors) parts.push("errors shown");
    this.canvas.setAttribute("aria-label", parts.join(", "));
  }

  #names(present) {
    return present.map((shown) => this.viewer.classes[shown - 1].name).join(" and ") || "nothing";
  }
}

/** A slice in pixels, on a canvas that nobody sees. */
class Raster {
  canvas = document.createElement("canvas");

  /** @param {function(number): number} pixelOf the pixel at a place of the slice */
  paint(columns, rows, pixelOf) {
    Object.assign(this.canvas, { width: columns, height: rows });
    const context = this.canvas.getContext("2d");
    const image = context.createImageData(columns, rows);
    const pixels = new Uint32Array(image.data.buffer);
    for (let i = 0; i < pixels.length; i++) pixels[i] = pixelOf(i);
    context.putImageData(image, 0, 0);
  }
}

function presentClasses(labels, table) {
  const present = new Uint8Array(256);
  for (const value of labels) present[table[value]] = 1;
  return Array.from(present.keys()).filter((shown) => shown > 0 && present[shown]);
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
