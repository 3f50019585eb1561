// Keys: they work where the focus is in the viewer, and where it is nowhere while the mouse is over the viewer.

const PAGE_OF_SLICES = 10;
const OPACITY_STEP = 0.1;
const ZOOM_STEP = 1.5;
/** Inputs that use arrows themselves. */
const ARROW_INPUTS = "input[type=range], input[type=radio]";
const TEXT_INPUTS = "input[type=search], input[type=number]";

/** What each key does to the viewer. */
const KEYS = {
  ArrowUp: (viewer) => viewer.moveSlice(viewer.active, 1),
  ArrowDown: (viewer) => viewer.moveSlice(viewer.active, -1),
  PageUp: (viewer) => viewer.moveSlice(viewer.active, PAGE_OF_SLICES),
  PageDown: (viewer) => viewer.moveSlice(viewer.active, -PAGE_OF_SLICES),
  ArrowLeft: (viewer) => viewer.act("previous-case"),
  ArrowRight: (viewer) => viewer.act("next-case"),
  "[": (viewer) => viewer.act("previous-case"),
  "]": (viewer) => viewer.act("next-case"),
  g: (viewer) => viewer.toggle("truth"),
  p: (viewer) => viewer.toggle("prediction"),
  e: (viewer) => viewer.toggle("errors"),
  c: (viewer) => viewer.toggle("crosshair"),
  n: (viewer) => viewer.goToNextPlace(),
  "+": (viewer) => viewer.set({ opacity: viewer.state.opacity + OPACITY_STEP }),
  "=": (viewer) => viewer.set({ opacity: viewer.state.opacity + OPACITY_STEP }),
  "-": (viewer) => viewer.set({ opacity: viewer.state.opacity - OPACITY_STEP }),
  z: (viewer) => viewer.act("zoom-in"),
  x: (viewer) => viewer.act("zoom-out"),
  0: (viewer) => viewer.act("zoom-reset"),
  "?": (viewer) => viewer.act("help"),
};

function listenToKeys(viewer) {
  document.addEventListener("keydown", (event) => {
    const act = KEYS[event.key] ?? windowKey(viewer, event.key);
    if (!act || event.ctrlKey || event.metaKey || event.altKey || !isMeant(viewer.root, event.key)) return;
    event.preventDefault();
    act(viewer);
  });
}

/** Whether a key is for the viewer, and not for an input of its own or for the page. */
function isMeant(root, key) {
  const focused = document.activeElement ?? document.body;
  const isMove = /^(Arrow|Page)/.test(key);
  if (focused === document.body) return isMove ? root.querySelector(".views:hover") !== null : root.matches(":hover");
  return root.contains(focused) && !focused.matches(TEXT_INPUTS) && !(isMove && focused.matches(ARROW_INPUTS));
}

/** Digits choose the windows in their order. */
function windowKey(viewer, key) {
  const input = /^[1-9]$/.test(key) && viewer.root.querySelectorAll("input[name=viewer-window]")[key - 1];
  return input && (() => viewer.changeWindow(...input.value.split("/").map(Number)));
}
