// The page's address: "#viewer?case=NAME&at=x,y,z&window=level,width" opens a case at a place.

const ADDRESS = "#viewer?";
/** Browsers refuse an address that changes too often; milliseconds. */
const ADDRESS_PAUSE = 500;

class Address {
  #viewer;
  #timer = null;

  constructor(viewer) {
    this.#viewer = viewer;
    window.addEventListener("hashchange", () => this.follow());
    // A link to the case whose address is there already changes nothing, and is still meant.
    document.addEventListener("click", (event) => {
      const link = event.target.closest?.(`a[href^="${ADDRESS}"]`);
      if (link && link.hash === location.hash) this.follow();
    });
  }

  /** Show what the address names, if it is one of the viewer's. @returns {boolean} whether it is */
  follow() {
    if (!location.hash.startsWith(ADDRESS)) return false;
    const wanted = new URLSearchParams(location.hash.slice(ADDRESS.length));
    const index = this.#viewer.cases.findIndex(({ name }) => name === wanted.get("case"));
    if (index < 0) return false;
    const [level, width] = numbers(wanted.get("window"), 2) ?? [];
    if (width > 0) this.#viewer.changeWindow(level, width);
    this.#viewer.root.scrollIntoView({ block: "start" });
    this.#viewer.open(index, numbers(wanted.get("at"), 3));
    return true;
  }

  /** Name what is shown, a little later. */
  write() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#write(), ADDRESS_PAUSE);
  }

  #write() {
    const { state, current } = this.#viewer;
    const name = encodeURIComponent(current.name);
    const address = `${ADDRESS}case=${name}&at=${state.at.join()}&window=${state.level},${state.width}`;
    try {
      history.replaceState(null, "", address);
    } catch {
      // Some browsers forbid it in a page from a file; the view cannot be shared then, and all else works.
    }
  }
}

/** "1,2,3" -> [1, 2, 3]; null if it is anything else. */
function numbers(text, count) {
  const values = text?.split(",").map(Number) ?? [];
  return values.length === count && values.every(Number.isFinite) ? values : null;
}
