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
    drag = pointers.size > 1 ? "pinch" : dragOf(event, view);
    if (drag === "place") view.place(...placeOf(canvas, event));
    if (event.button === 1) event.preventDefault();
  });

  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = placeOf(canvas, event);
    if (event.pointerType === "mouse") view.hover(x, y);
    const before = pointers.get(event.pointerId);
    if (!before) return;
    if (drag === "tap" && Math.hypot(x - before[0], y - before[1]) < SWIPE_START) return;
    if (drag === "tap") drag = view.isZoomed() ? "pan" : "swipe";
    if (drag === "swipe") {
      const slices = Math.trunc((x - before[0]) / SWIPE_SLICE);
      if (slices) view.slices(slices);
      if (slices) pointers.set(event.pointerId, [before[0] + slices * SWIPE_SLICE, y]);
      return;
    }
    if (drag === "pinch") pinch(pointers, event.pointerId, [x, y], view);
    if (drag === "place") view.place(x, y);
    if (drag === "window") view.window(x - before[0], y - before[1]);
    if (drag === "pan") view.pan(x - before[0], y - before[1]);
    pointers.set(event.pointerId, [x, y]);
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

function dragOf(event, view) {
  if (event.pointerType === "touch") return "tap"; // until it moves
  if (event.button === 2) return "window";
  return event.button === 1 || event.shiftKey ? "pan" : "place";
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
