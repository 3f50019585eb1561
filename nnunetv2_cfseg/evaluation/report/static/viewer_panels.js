// The list of cases, places to go to, and the readout: each shows the viewer's state in `draw()`.

class CaseList {
  constructor(viewer) {
    this.viewer = viewer;
    this.buttons = [...viewer.root.querySelectorAll("[data-part=cases] button")];
    for (const button of this.buttons) {
      button.addEventListener("click", () => viewer.open(Number(button.dataset.case)));
    }
    const filter = viewer.part("filter");
    filter?.addEventListener("input", () => this.#filter(filter.value.trim().toLowerCase()));
  }

  #filter(text) {
    for (const button of this.buttons) {
      button.parentElement.hidden = !button.textContent.toLowerCase().includes(text);
    }
  }

  draw() {
    const { root, current, state } = this.viewer;
    const chosen = String(state.shown);
    if (root.dataset.shown === chosen) return;
    root.dataset.shown = chosen;
    for (const button of this.buttons) {
      if (button.dataset.case === chosen) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
    scrollInto(this.buttons[state.shown].parentElement);
    this.viewer.part("name").textContent = current.name;
    this.viewer.part("caption").textContent = current.caption;
    this.viewer.part("links").replaceChildren(...current.links.map(linkTo));
    this.#disable("previous-case", state.shown === 0);
    this.#disable("next-case", state.shown === this.buttons.length - 1);
    this.viewer.part("window").hidden = !current.hasImage;
    this.viewer.part("note").textContent = current.note;
    this.viewer.part("note").hidden = !current.note;
  }
  #disable(name, disabled) {
    const button = this.viewer.root.querySelector(`[data-do="${name}"]`);
    if (button) button.disabled = disabled; // a single case has none
  }
}

/** Scroll the list, and nothing but the list, so that an item is seen. */
function scrollInto(item) {
  const list = item.parentElement;
  if (item.offsetTop < list.scrollTop) list.scrollTop = item.offsetTop;
  const below = item.offsetTop + item.offsetHeight - list.clientHeight;
  if (below > list.scrollTop) list.scrollTop = below;
}

/** Only relative addresses and those of the web: what a file name holds is never run. */
function linkTo([words, address]) {
  const link = document.createElement("a");
  link.textContent = words;
  if (/^(https?:|[^:]*([/?#]|$))/i.test(address)) link.href = address;
  return link;
}

/** Buttons that lead to the largest structure of a case, and to its largest errors or whatever is worth a look. */
class Findings {
  constructor(viewer) {
    this.viewer = viewer;
    this.list = viewer.part("findings");
  }

  draw() {
    const { state, current } = this.viewer;
    if (this.list.dataset.case !== String(state.shown)) this.#fill(current);
    this.list.dataset.case = state.shown;
    for (const button of this.list.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", button.dataset.at === state.at.join());
    }
  }

  #fill({ structure, places }) {
    const [first, further, none] = this.viewer.placeNames;
    const items = places.map((place, i) => this.#item(i === 0 ? first : `${further} ${i + 1}`, place));
    if (structure) items.unshift(this.#item("Largest structure", structure));
    if (!places.length && none) items.push(Object.assign(document.createElement("li"), { textContent: none }));
    this.list.replaceChildren(...items);
  }

  #item(title, { at, text }) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    const words = document.createElement("span");
    Object.assign(button, { type: "button", textContent: `${title} ` });
    words.textContent = text;
    button.append(words);
    button.dataset.at = at.join();
    button.addEventListener("click", () => this.viewer.goTo(at));
    item.append(button);
    return item;
  }
}

/** Place, HU and classes under the mouse; without a mouse, those of the crosshair. */
class Readout {
  constructor(viewer) {
    this.viewer = viewer;
    this.element = viewer.part("readout");
  }

  draw() {
    const { viewer } = this;
    const { current, volumes, state } = viewer;
    const voxel = state.hover ?? state.at;
    const [i, j, k] = transform(current.toFile, voxel).map(Math.round);
    const entries = [["mm", patientPlace(transform(current.toPatient, voxel))]];
    if (volumes.image) entries.push(["HU", this.#hounsfield(valueAt(volumes.image, current.size, voxel))]);
    for (const [key, words] of viewer.labelled) {
      entries.push([words, this.#label(valueAt(volumes[key], current.size, voxel))]);
    }
    entries.push(["voxel of the file", `${i}, ${j}, ${k}`]);
    this.element.replaceChildren(...entries.map(readoutEntry));
    this.element.dataset.of = state.hover ? "cursor" : "crosshair";
  }

  #hounsfield(byte) {
    const { levels } = this.viewer;
    if (byte === 0 || byte === 255) return `${byte ? "\u2265" : "\u2264"} ${levels[byte]}`.replace("-", "\u2212");
    return String(Math.round(levels[byte])).replace("-", "\u2212");
  }

  /** All classes that a value belongs to: regions may lie in each other. */
  #label(value) {
    const names = this.viewer.classes.filter(({ values }) => values.includes(value)).map(({ name }) => name);
    return names.join(", ") || "background";
  }
}

/** Patient coordinates grow to the left, back and head: "R 12.0  A 3.5  S 40.0". */
function patientPlace(mm) {
  return mm.map((value, i) => `${(value < 0 ? "RAI" : "LPS")[i]} ${Math.abs(value).toFixed(1)}`).join("  ");
}

function readoutEntry([name, value]) {
  const entry = document.createElement("span");
  const words = document.createElement("b");
  entry.textContent = `${name} `;
  words.textContent = value;
  entry.append(words);
  return entry;
}
