// A view: one plane of the case on one canvas, with its slider.

const MAX_ZOOM = 16;

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
    this.slice = new PaintedSlice();
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
    const withCase =
      (act) =>
      (...given) =>
        viewer.current && act(...given); // there is a case
    listenToGestures(this.canvas, {
      place: withCase((x, y) => viewer.place(this.#voxelAt(x, y, true), this.name)),
      hover: withCase((x, y) => viewer.hover(x === null ? null : this.#voxelAt(x, y, false), this.name)),
      slices: withCase((count) => viewer.moveSlice(this.name, count)),
      window: withCase((x, y) => viewer.changeWindow(viewer.state.level + y, viewer.state.width + 2 * x)),
      pan: withCase((x, y) => viewer.pan(this.name, x / this.#scale, y / this.#scale)),
      zoom: withCase((factor, x, y) => this.#zoomAbout(factor, x, y)),
      isZoomed: () => viewer.state.zoom > 1,
    });
    this.slider.addEventListener(
      "input",
      withCase(() => viewer.setSlice(this.name, Number(this.slider.value))),
    );
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

  /** Zoom so that what lies at a place of the canvas stays there; the other views stay at the crosshair. */
  #zoomAbout(factor, x, y) {
    const { state } = this.viewer;
    const before = this.#scale;
    const [left, top] = this.#corner;
    const zoom = clamp(state.zoom * factor, 1, MAX_ZOOM);
    const after = (before * zoom) / state.zoom;
    const [width, height] = this.sizeMm;
    if (state.zoom === 1) this.viewer.centreViews();
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

  /** The crosshair in CSS pixels of the canvas. */
  get #crosshair() {
    return this.#crosshairMm.map((mm, i) => mm * this.#scale + this.#corner[i]);
  }

  /** Draw the slice, if it is among the views that can be seen. */
  draw() {
    const { canvas } = this;
    const { state, current } = this.viewer;
    if (!canvas.clientWidth || !canvas.clientHeight) return;
    const density = globalThis.devicePixelRatio || 1;
    canvas.width = Math.round(canvas.clientWidth * density);
    canvas.height = Math.round(canvas.clientHeight * density);
    this.slice.update(this.viewer, this.plane, this.at);
    const context = canvas.getContext("2d");
    context.setTransform(density, 0, 0, density, 0, 0);
    this.#drawRaster(context, this.slice.scan, state.smooth && current.hasImage);
    this.#drawRaster(context, this.slice.colours, false);
    this.#drawOutlines(context);
    if (state.crosshair) drawCrosshair(context, this.#crosshair, canvas);
    drawSides(context, this.plane.sides, canvas);
    drawScaleBar(context, this.#scale, canvas);
    this.#describe();
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
    const { truthLines, predictionLines } = this.slice;
    for (const [lines, dash] of [
      [truthLines, []],
      [predictionLines, [4, 3]],
    ]) {
      for (const [shown, path] of lines) {
        const placed = new Path2D();
        placed.addPath(path, place);
        drawOutline(context, placed, { colour: this.viewer.classes[shown - 1].colour, dash });
      }
    }
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
    for (const [key, words] of this.viewer.labelled) {
      if (state[key] !== "off") parts.push(`${words}: ${this.#names(this.slice.present[key])}`);
    }
    if (state.errors) parts.push("errors shown");
    this.canvas.setAttribute("aria-label", parts.join(", "));
  }

  #names(present) {
    return present.map((shown) => this.viewer.classes[shown - 1].name).join(" and ") || "nothing";
  }
}
