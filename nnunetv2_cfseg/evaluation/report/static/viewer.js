// The viewer: what is shown, and the only place where that changes.

/** mm. A first case that is wider than a head opens in the window of soft tissue. */
const WIDER_THAN_A_HEAD = 260;
const BRAIN_WINDOW = [40, 80];
const SOFT_TISSUE_WINDOW = [40, 400];
/** Milliseconds of rest before the status tells a screen reader what is shown. */
const SPEECH_PAUSE = 600;
/** Pages that show tables first decode nothing before the viewer is nearly in sight. */
const NEARLY_IN_SIGHT = "800px";

class Viewer {
  constructor(root) {
    this.root = root;
    Object.assign(this, JSON.parse(root.querySelector("script[data-part=description]").textContent));
    this.hasTruth = this.labelled.some(([key]) => key === "truth");
    this.store = new VolumeStore(root, this.cases, this.labelled.map(([key]) => key));
    this.volumes = null;
    this.active = "axial";
    this.state = {
      shown: null, // index of the case whose volumes are there
      at: [0, 0, 0],
      hover: null,
      level: 0,
      width: 1,
      truth: "outline",
      prediction: "fill",
      errors: false,
      opacity: Number(this.part("opacity").value) / 100,
      hidden: new Set(),
      crosshair: true,
      smooth: true,
      planes: "all",
      zoom: 1,
      pan: { axial: [0, 0], coronal: [0, 0], sagittal: [0, 0] },
    };
    this.legend = new Legend(this);
    this.views = [...root.querySelectorAll(".view")].map((element) => new SliceView(element, this));
    this.readout = new Readout(this);
    this.panels = [new CaseList(this), new Controls(this), this.legend, new Findings(this), this.readout];
    this.address = new Address(this);
    this.modes = { truth: this.state.truth, prediction: this.state.prediction };
    this.wanted = null;
    listenToKeys(this);
  }

  part(name) {
    return this.root.querySelector(`[data-part="${name}"]`);
  }

  /** The case that is shown. */
  get current() {
    return this.cases[this.state.shown];
  }

  /** Begin with the case that the address names, or with the first one as soon as it is nearly in sight. */
  start() {
    const first = this.cases[0];
    const width = first.size[0] * first.spacing[0];
    this.changeWindow(...(width > WIDER_THAN_A_HEAD ? SOFT_TISSUE_WINDOW : BRAIN_WINDOW));
    if (this.address.follow()) return;
    const sight = new IntersectionObserver(
      (entries) => {
        if (!entries.some((entry) => entry.isIntersecting)) return;
        sight.disconnect();
        if (this.wanted === null) this.open(0);
      },
      { rootMargin: NEARLY_IN_SIGHT },
    );
    sight.observe(this.root);
  }

  /** Show a case at a voxel [x, y, z]; without one at its largest structure, or else in its middle. */
  async open(index, at = null) {
    this.wanted = index;
    this.root.dataset.state = "loading";
    const asked = this.cases[index];
    try {
      const volumes = await this.store.load(index);
      if (this.wanted !== index) return; // another case was chosen meanwhile
      this.volumes = volumes;
    } catch (error) {
      if (this.wanted === index) this.#fail(asked, error);
      return;
    }
    const isOther = this.state.shown !== index;
    const place = at ?? (isOther ? startOf(asked) : this.state.at);
    this.state.shown = index;
    this.state.hover = null;
    if (isOther) this.act("zoom-reset");
    this.goTo(place);
    this.#fitViews();
    this.legend.markAbsent(this.volumes);
    this.part("message").hidden = true;
    this.root.dataset.state = "ready";
  }

  #fail({ name }, error) {
    this.root.dataset.state = "failed";
    this.part("message").textContent = `${name} cannot be shown: ${error.message}.`;
    this.part("message").hidden = false;
  }

  /** The views' shape follows the narrowest of the three slices. */
  #fitViews() {
    const aspects = this.views.map(({ sizeMm: [width, height] }) => width / height);
    this.root.style.setProperty("--view-aspect", clamp(Math.min(...aspects), 0.8, 1.4).toFixed(4));
  }

  /** Change the state and draw it. */
  set(change) {
    Object.assign(this.state, change);
    this.state.opacity = clamp(this.state.opacity, 0, 1);
    for (const mode of ["truth", "prediction"]) if (this.state[mode] !== "off") this.modes[mode] = this.state[mode];
    this.redraw();
    this.#tell();
  }

  /** Draw at the next frame, once. */
  redraw() {
    if (this.frame || this.state.shown === null) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = null;
      for (const drawn of [...this.panels, ...this.views]) drawn.draw();
    });
  }

  #tell() {
    clearTimeout(this.speech);
    if (this.state.shown === null) return;
    this.address.write();
    this.speech = setTimeout(() => {
      const view = this.views.find(({ name }) => name === this.active);
      this.part("status").textContent = view.canvas.getAttribute("aria-label");
    }, SPEECH_PAUSE);
  }

  /** @param {?number[]} voxel [x, y, z] under the mouse in a view */
  hover(voxel, view) {
    if (voxel) this.activate(view);
    this.state.hover = voxel;
    this.readout.draw();
  }

  /** Slices are moved in the view that was used last. */
  activate(view) {
    this.active = view;
  }

  /** The reader points at a voxel in a view. */
  place(voxel, view) {
    this.activate(view);
    this.set({ at: voxel });
  }

  /** Move the crosshair to a voxel and, where a view is zoomed, the view to the crosshair. */
  goTo(voxel) {
    const { size } = this.current;
    this.set({ at: voxel.map((place, axis) => clamp(Math.round(place), 0, size[axis] - 1)) });
    if (this.state.zoom > 1) this.centreViews();
  }

  goToNextPlace() {
    const { places } = this.current;
    if (!places.length) return;
    const here = places.findIndex(({ at }) => at.join() === this.state.at.join());
    this.goTo(places[(here + 1) % places.length].at);
  }

  /** Move the crosshair into a class, in the prediction if it shows it, and show the class if it is hidden. */
  goToClass(index) {
    const { size } = this.current;
    const { values } = this.classes[index];
    const volumes = [this.volumes.prediction, this.volumes.truth].filter(Boolean);
    const place = volumes.map((volume) => middleOf(volume, size, new Set(values))).find(Boolean);
    if (!place) return;
    if (this.state.hidden.has(index)) this.hideClass(index, false);
    this.goTo(place);
  }

  setSlice(viewName, slice) {
    this.activate(viewName);
    const { axis } = this.views.find(({ name }) => name === viewName);
    const at = [...this.state.at];
    at[axis] = clamp(slice, 0, this.current.size[axis] - 1);
    this.set({ at, hover: null });
  }

  moveSlice(viewName, count) {
    if (this.state.shown === null) return;
    const { axis } = this.views.find(({ name }) => name === viewName);
    this.setSlice(viewName, this.state.at[axis] + count);
  }

  changeWindow(level, width) {
    if (!Number.isFinite(level) || !Number.isFinite(width)) return;
    this.set({ level: Math.round(level), width: Math.max(1, Math.round(width)) });
  }

  /** One plane alone, or all. */
  showPlanes(planes) {
    if (planes !== "all") this.activate(planes);
    this.set({ planes });
  }

  /** Truth and prediction come back as they were, filled or in outline. */
  toggle(part) {
    if ((part === "truth" || part === "errors") && !this.hasTruth) return;
    if (part in this.modes) this.set({ [part]: this.state[part] === "off" ? this.modes[part] : "off" });
    else this.set({ [part]: !this.state[part] });
  }

  hideClass(index, hide) {
    this.hideClasses([index], hide);
  }

  hideClasses(indices, hide) {
    const hidden = new Set(this.state.hidden);
    for (const index of indices) {
      if (hide) hidden.add(index);
      else hidden.delete(index);
    }
    this.set({ hidden });
  }

  setZoom(zoom) {
    this.set({ zoom: clamp(zoom, 1, MAX_ZOOM) });
  }

  setPan(view, mm) {
    this.set({ pan: { ...this.state.pan, [view]: mm } });
  }

  pan(view, x, y) {
    const [left, top] = this.state.pan[view];
    this.setPan(view, [left + x, top + y]);
  }

  /** Buttons zoom about the crosshair. */
  #zoomBy(factor) {
    this.setZoom(this.state.zoom * factor);
    this.centreViews();
  }

  /** Where views are zoomed, the crosshair comes to their middle. */
  centreViews() {
    for (const view of this.views) this.setPan(view.name, view.centredPan);
  }

  /** What a button or a key of this name does. */
  act(name) {
    const last = this.cases.length - 1;
    const actions = {
      "previous-case": () => this.open(Math.max(0, this.wanted - 1)),
      "next-case": () => this.open(Math.min(last, this.wanted + 1)),
      "zoom-in": () => this.#zoomBy(ZOOM_STEP),
      "zoom-out": () => this.#zoomBy(1 / ZOOM_STEP),
      "zoom-reset": () => this.setZoom(1),
      "show-classes": () => this.hideClasses(this.legend.found, false),
      "hide-classes": () => this.hideClasses(this.legend.found, true),
      "full-screen": () => toggleFullScreen(this.root),
      help: () => (this.part("help").open = !this.part("help").open),
    };
    if (this.state.shown !== null) actions[name]();
  }
}

/** The largest structure's place, or the middle. */
function startOf({ structure, size }) {
  return structure?.at ?? size.map((count) => Math.floor(count / 2));
}

function toggleFullScreen(element) {
  if (document.fullscreenElement) document.exitFullscreen();
  else element.requestFullscreen();
}

new Viewer(document.getElementById("viewer")).start();
