// Gestures on a view's canvas. They tell the view what is meant; they know nothing of volumes.

/** CSS pixels that a finger moves before a tap is a swipe, and for each further slice. */
const SWIPE_START = 10;
const SWIPE_SLICE = 7;
/** A wheel that already scrolls the page goes on doing so, this many milliseconds. */
const PAGE_SCROLL_PAUSE = 250;
/** Of a wheel, in pixels, for a slice. */
const WHEEL_SLICE = 40;
const WHEEL_UNITS = [1, 33, 400];

/**
 * @param {HTMLCanvasElement} canvas
 * @param {{place: function(number, number), hover: function(?number, ?number), slices: function(number),
 *   window: function(number, number), pan: function(number, number), zoom: function(number, number, number),
 *   isZoomed: function(): boolean}} view what gestures mean; places and ways are in CSS pixels of the canvas
 */
function listenToGestures(canvas, view) {
  listenToPointers(canvas, view);
  listenToWheel(canvas, view);
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
}

function listenToPointers(canvas, view) {
  const pointers = new Map();
  let drag = null;

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, placeOf(canvas, event));
    drag = pointers.size > 1 ? "pinch" : dragOf(event);
    if (drag === "place") view.place(...placeOf(canvas, event));
    if (event.button === 1) event.preventDefault();
  });

  canvas.addEventListener("pointermove", (event) => {
    const place = placeOf(canvas, event);
    if (event.pointerType === "mouse") view.hover(...place);
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const way = [place[0] - before[0], place[1] - before[1]];
    if (drag === "tap" && Math.hypot(...way) < SWIPE_START) return;
    if (drag === "tap") drag = view.isZoomed() ? "pan" : "swipe";
    if (drag === "swipe") {
      pointers.set(event.pointerId, [before[0] + swipe(way[0], view), before[1]]);
      return;
    }
    if (drag === "pinch") pinch(pointers, event.pointerId, place, view);
    if (drag === "place") view.place(...place);
    if (drag === "window") view.window(...way);
    if (drag === "pan") view.pan(...way);
    pointers.set(event.pointerId, place);
  });

  const end = (event) => {
    if (event.type === "pointerup" && drag === "tap") view.place(...placeOf(canvas, event));
    pointers.delete(event.pointerId);
    drag = pointers.size ? "done" : null;
  };
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);
  // One finger may scroll the page; two are a pinch, and the page stays where it is.
  canvas.addEventListener("touchmove", (event) => event.touches.length > 1 && event.preventDefault(), {
    passive: false,
  });
  canvas.addEventListener("pointerleave", () => view.hover(null, null));
}

function dragOf(event) {
  if (event.pointerType === "touch") return "tap"; // until it moves
  if (event.button === 2) return "window";
  return event.button === 1 || event.shiftKey ? "pan" : "place";
}

/** Whole slices of a way across. @returns {number} how much of the way they took */
function swipe(across, view) {
  const slices = Math.trunc(across / SWIPE_SLICE);
  if (slices) view.slices(slices);
  return slices * SWIPE_SLICE;
}

/** Two fingers: their distance zooms, their middle moves. */
function pinch(pointers, moved, place, view) {
  const [other] = [...pointers].filter(([id]) => id !== moved).map(([, otherPlace]) => otherPlace);
  const before = pointers.get(moved);
  const distance = (a, b) => Math.max(1, Math.hypot(a[0] - b[0], a[1] - b[1]));
  const factor = distance(place, other) / distance(before, other);
  view.zoom(factor, (place[0] + other[0]) / 2, (place[1] + other[1]) / 2);
  view.pan((place[0] - before[0]) / 2, (place[1] - before[1]) / 2);
}

function listenToWheel(canvas, view) {
  let pageScrolled = -Infinity;
  let turned = 0;
  window.addEventListener("scroll", (event) => (pageScrolled = event.timeStamp), { passive: true });
  canvas.addEventListener(
    "wheel",
    (event) => {
      if (event.timeStamp - pageScrolled < PAGE_SCROLL_PAUSE && !event.ctrlKey) return;
      event.preventDefault();
      const way = event.deltaY * WHEEL_UNITS[event.deltaMode];
      if (event.ctrlKey) {
        view.zoom(Math.exp(-way / 200), ...placeOf(canvas, event));
        return;
      }
      turned -= way;
      if (Math.abs(turned) < WHEEL_SLICE) return;
      view.slices(Math.sign(turned)); // one an event: a notch of a wheel is a slice
      turned = 0;
    },
    { passive: false },
  );
}

function placeOf(canvas, event) {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}
