// A slice with its colours, painted anew only when it changes.

/** A canvas that nobody sees, a pixel for each voxel of a slice. */
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

class PaintedSlice {
  scan = new Raster();
  colours = new Raster();
  /** @type {Map<number, Path2D>} by class from 1, in pixels of the slice */
  truthLines = new Map();
  predictionLines = new Map();
  /** Classes from 1 that the slice shows. */
  present = { truth: [], prediction: [] };
  #painted = "";

  /**
   * Paint slice `at` of a plane, if that is not what is painted already.
   * @param {Viewer} viewer whose case, window and colours are to be seen
   */
  update(viewer, plane, at) {
    const { shown, level, width, truth, prediction, errors, opacity, hidden } = viewer.state;
    const wanted = JSON.stringify([shown, at, level, width, truth, prediction, errors, opacity, [...hidden]]);
    if (wanted !== this.#painted) this.#paint(viewer, plane, at);
    this.#painted = wanted;
  }

  #paint(viewer, plane, at) {
    const { state, volumes, ignore } = viewer;
    const { size } = viewer.current;
    const [columns, rows] = [size[plane.across], size[plane.down]];
    const cut = (volume) => (volume ? cutSlice(volume, { plane, size, at }) : new Uint8Array(columns * rows));
    const table = shownClasses(viewer.classes, state.hidden);
    const [truth, prediction] = [cut(volumes.truth), cut(volumes.prediction)];
    const shown = { truth: truth.map((value) => table[value]), prediction: prediction.map((value) => table[value]) };
    this.#paintScan(volumes.image && cut(volumes.image), viewer, columns, rows);

    const errors = state.errors ? errorKinds(shown, truth, ignore) : null;
    const pixels = overlayPixels(viewer.classes, state.opacity);
    this.colours.paint(columns, rows, (i) => {
      if (errors) return pixels.errors[errors[i]]; // all that is filled is an error then; outlines remain
      const predicted = state.prediction === "fill" ? shown.prediction[i] : 0;
      return pixels.classes[predicted || (state.truth === "fill" ? shown.truth[i] : 0)];
    });
    const outlined = (part) => (state[part] === "outline" ? outlines(shown[part], columns, rows) : new Map());
    this.truthLines = outlined("truth");
    this.predictionLines = outlined("prediction");
    this.present = { truth: presentClasses(shown.truth), prediction: presentClasses(shown.prediction) };
  }

  #paintScan(image, { levels, state }, columns, rows) {
    const greys = windowPixels(levels, state.level, state.width);
    const plain = pixel(PLAIN_GREY, PLAIN_GREY, PLAIN_GREY);
    this.scan.paint(columns, rows, (i) => (image ? greys[image[i]] : plain));
  }
}

/** Pixels by class and by kind of error; index 0 is clear. Errors are the stronger ones. */
function overlayPixels(classes, opacity) {
  const strong = 1 - (1 - opacity) ** 2;
  return {
    classes: [0, ...classes.map(({ colour }) => colourPixel(colour, opacity))],
    errors: [0, ...[MISSED, INVENTED, CONFUSED].map((kind) => colourPixel(ERROR_COLOURS[kind], strong))],
  };
}

function presentClasses(shown) {
  const present = new Uint8Array(256);
  for (const one of shown) present[one] = 1;
  return Array.from(present.keys()).filter((one) => one > 0 && present[one]);
}
