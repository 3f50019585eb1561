// Volumes: base64 of gzip in the page, typed arrays once a case is chosen.

/** Decoded cases that stay in memory: the one shown and the one before it. */
const KEPT_CASES = 2;

/**
 * Volumes of a case, a byte a voxel, x fastest, then y, then z.
 * @typedef {{image: ?Uint8Array, truth: ?Uint8Array, prediction: Uint8Array}} Volumes
 */

class VolumeStore {
  #root;
  #cases;
  #labelled;
  #kept = new Map();

  /** @param {string[]} labelled names of the volumes of labels that each case has */
  constructor(root, cases, labelled) {
    this.#root = root;
    this.#cases = cases;
    this.#labelled = labelled;
  }

  /** @returns {Promise<Volumes>} */
  load(index) {
    const volumes = this.#kept.get(index) ?? this.#decode(index);
    this.#kept.delete(index);
    this.#kept.set(index, volumes);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > KEPT_CASES) this.#kept.delete(oldest);
    volumes.catch(() => this.#kept.delete(index));
    return volumes;
  }

  async #decode(index) {
    const { size, hasImage } = this.#cases[index];
    const labels = (name) => (this.#labelled.includes(name) ? this.#unpack(index, name, size) : null);
    const [image, truth, prediction] = await Promise.all([
      hasImage ? this.#unpack(index, "image", size) : null,
      labels("truth"),
      labels("prediction"),
    ]);
    if (image) addSlices(image, size[0] * size[1]);
    return { image, truth, prediction };
  }

  async #unpack(index, volume, size) {
    const packed = this.#root.querySelector(`script[data-case="${index}"][data-volume="${volume}"]`);
    const bytes = await gunzip(fromBase64(packed.textContent));
    if (bytes.length !== size[0] * size[1] * size[2]) throw new Error(`the ${volume} in this page is damaged`);
    return bytes;
  }
}

function fromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
  return bytes;
}

async function gunzip(bytes) {
  if (!globalThis.DecompressionStream) throw new Error("this browser is too old (it has no DecompressionStream)");
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Undo what made gzip's work easier: each slice was stored less the one below it. Bytes wrap around. */
function addSlices(volume, slice) {
  for (let i = slice; i < volume.length; i++) volume[i] += volume[i - slice];
}
