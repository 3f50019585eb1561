// Controls and legend: each shows the viewer's state in `draw()`, and calls the viewer when the reader acts.

class Controls {
  constructor(viewer) {
    this.viewer = viewer;
    const { root } = viewer;
    for (const choice of ["truth", "prediction"]) this.#radios(choice, (value) => viewer.set({ [choice]: value }));
    this.#radios("planes", (value) => viewer.showPlanes(value));
    this.#radios("window", (value) => viewer.changeWindow(...value.split("/").map(Number)));
    this.switches = ["errors", "crosshair", "smooth"].filter((choice) => viewer.part(choice));
    for (const choice of this.switches) {
      viewer.part(choice).addEventListener("change", (event) => viewer.set({ [choice]: event.target.checked }));
    }
    viewer.part("opacity").addEventListener("input", (event) => viewer.set({ opacity: event.target.value / 100 }));
    this.numbers = { level: viewer.part("level"), width: viewer.part("width") };
    for (const input of Object.values(this.numbers)) input.addEventListener("change", () => this.#takeNumbers());
    root.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-do]");
      if (button) viewer.act(button.dataset.do);
    });
    viewer.part("full-screen").hidden = !document.fullscreenEnabled;
  }

  /** What cannot be taken is replaced by what is shown. */
  #takeNumbers() {
    const { level, width } = this.numbers;
    this.viewer.changeWindow(level.valueAsNumber, width.valueAsNumber);
    level.value = this.viewer.state.level;
    width.value = this.viewer.state.width;
  }

  #inputs(name) {
    return [...this.viewer.root.querySelectorAll(`input[name="viewer-${name}"]`)];
  }

  #radios(name, choose) {
    for (const input of this.#inputs(name)) input.addEventListener("change", () => choose(input.value));
  }

  draw() {
    const { state } = this.viewer;
    const chosen = {
      truth: state.truth,
      prediction: state.prediction,
      planes: state.planes,
      window: `${state.level}/${state.width}`,
    };
    for (const [name, value] of Object.entries(chosen)) {
      for (const input of this.#inputs(name)) input.checked = input.value === value;
    }
    for (const choice of this.switches) this.viewer.part(choice).checked = state[choice];
    this.viewer.part("opacity").value = Math.round(100 * state.opacity);
    for (const [name, input] of Object.entries(this.numbers)) {
      if (input !== document.activeElement) input.value = state[name]; // what is being typed stays
    }
    const zoom = `${Math.round(100 * state.zoom)} %`;
    this.viewer.part("zoom").textContent = zoom;
    this.viewer.part("zoom").setAttribute("aria-label", `Zoom ${zoom}, reset`);
    this.viewer.root.dataset.zoomed = state.zoom > 1;
    this.viewer.root.dataset.planes = state.planes;
  }
}

class Legend {
  constructor(viewer) {
    this.viewer = viewer;
    this.labels = [...viewer.root.querySelectorAll("[data-part=classes] label")];
    this.labels.forEach((label, i) => {
      label.querySelector(".swatch").style.background = viewer.classes[i].colour;
      label.querySelector("input").addEventListener("change", (event) => viewer.hideClass(i, !event.target.checked));
      label.parentElement.querySelector(".to").addEventListener("click", () => viewer.goToClass(i));
    });
    const filter = viewer.part("class-filter");
    filter?.addEventListener("input", () => this.#filter(filter.value.trim().toLowerCase()));
  }

  /** Indices of the classes that the search has found; all without a search. */
  get found() {
    return [...this.labels.keys()].filter((i) => !this.labels[i].parentElement.hidden);
  }

  #filter(text) {
    this.labels.forEach((label, i) => {
      label.parentElement.hidden = !this.viewer.classes[i].name.toLowerCase().includes(text);
    });
    this.viewer.part("found-classes").textContent = text ? `${this.found.length} of ${this.labels.length}` : "";
  }

  /** Classes that the case does not show are faint. */
  markAbsent({ truth, prediction }) {
    const seen = new Uint8Array(256);
    for (const volume of [truth, prediction].filter(Boolean)) for (const value of volume) seen[value] = 1;
    const absent = this.viewer.classes.map(({ values }) => !values.some((value) => seen[value]));
    this.labels.forEach((label, i) => {
      label.classList.toggle("absent", absent[i]);
      label.parentElement.querySelector(".to").disabled = absent[i];
    });
    this.viewer.part("absent").hidden = !absent.some(Boolean);
  }

  draw() {
    const { hidden } = this.viewer.state;
    this.labels.forEach((label, i) => (label.querySelector("input").checked = !hidden.has(i)));
  }
}
