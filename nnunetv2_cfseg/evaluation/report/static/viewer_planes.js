// Planes: which axes a view shows, and how slices are cut. Axes: 0 to the patient's left, 1 to the back, 2 to the head.

/**
 * @typedef {object} Plane
 * @property {number} across axis of the columns
 * @property {number} down axis of the rows
 * @property {number} through axis of the slices
 * @property {boolean} headUp rows begin at the head, the far end of their axis
 * @property {string} sides of the patient at the left, right, top and bottom
 */

/** @type {Object<string, Plane>} */
const PLANES = {
  axial: { across: 0, down: 1, through: 2, headUp: false, sides: "RLAP" },
  coronal: { across: 0, down: 2, through: 1, headUp: true, sides: "RLSI" },
  sagittal: { across: 1, down: 2, through: 0, headUp: true, sides: "APSI" },
};

/** Rows are counted from the top of the view, voxels from the start of their axis. Works both ways. */
function flipRow(plane, size, row) {
  return plane.headUp ? size[plane.down] - 1 - row : row;
}

/** A slice of a volume, row by row from the top of the view. */
function cutSlice(volume, { plane, size, at }) {
  const strides = [1, size[0], size[0] * size[1]];
  const step = strides[plane.across];
  const [columns, rows] = [size[plane.across], size[plane.down]];
  const slice = new Uint8Array(columns * rows);
  let out = 0;
  for (let row = 0; row < rows; row++) {
    let voxel = at * strides[plane.through] + flipRow(plane, size, row) * strides[plane.down];
    for (let column = 0; column < columns; column++, voxel += step) slice[out++] = volume[voxel];
  }
  return slice;
}

/**
 * A place in a structure: in the axial slice that shows most of it, the voxel that is nearest to its middle.
 * @param {Set<number>} values of its voxels
 * @returns {?number[]} [x, y, z]; null if there is none
 */
function middleOf(volume, [columns, rows, slices], values) {
  const isOf = new Uint8Array(256);
  for (const value of values) isOf[value] = 1;
  const area = columns * rows;
  let [most, at] = [0, -1];
  for (let z = 0; z < slices; z++) {
    let count = 0;
    for (let i = z * area; i < (z + 1) * area; i++) count += isOf[volume[i]];
    if (count > most) [most, at] = [count, z];
  }
  if (at < 0) return null;
  const places = [];
  for (let i = 0; i < area; i++) if (isOf[volume[at * area + i]]) places.push([i % columns, Math.floor(i / columns)]);
  const middle = [0, 1].map((axis) => places.reduce((sum, place) => sum + place[axis], 0) / places.length);
  const distance = ([x, y]) => Math.hypot(x - middle[0], y - middle[1]);
  const nearest = places.reduce((best, place) => (distance(place) < distance(best) ? place : best));
  return [...nearest, at];
}

/** The value of a volume at a voxel [x, y, z]. */
function valueAt(volume, size, [x, y, z]) {
  return volume[x + size[0] * (y + size[1] * z)];
}

/** A 3 x 4 matrix times a voxel [x, y, z]. */
function transform(matrix, [x, y, z]) {
  return matrix.map((row) => row[0] * x + row[1] * y + row[2] * z + row[3]);
}

function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}
