"""Chooses the colours that the report gives to classes, and prints them with their distances.

The first seven are those of Okabe and Ito (2008), which people with defective colour vision can tell apart. Each
further colour is the one on a coarse grid of sRGB that is farthest in CIEDE2000 from all colours before it (greedy
maximin, as in Glasbey et al. 2007). Greys are left out, since scans are grey, and so are colours that are hard to see
on the black around a body (contrast below 3) or on a white page (below 1.25). Nothing is random.

    python experiments/class_colours.py
"""

from __future__ import annotations

from itertools import product

import numpy as np
from skimage.color import deltaE_ciede2000, rgb2lab

OKABE_ITO = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#cc79a7", "#d55e00", "#0072b2")
#: Number of classes that a volume with one byte per voxel can have, besides background.
COUNT = 255
GRID_STEP = 12
LEAST_CHROMA = 25
LEAST_CONTRAST_ON_BLACK, LEAST_CONTRAST_ON_WHITE = 3, 1.25


def main() -> None:
    """Print the colours, twelve a line, and how far they are from each other."""
    colours = choose(COUNT)
    for start in range(0, COUNT, 12):
        print(" ".join(colours[start : start + 12]))
    lab = to_lab(colours)
    distances = deltaE_ciede2000(*np.broadcast_arrays(lab[:, None], lab[None]))
    np.fill_diagonal(distances, np.inf)
    for count in (7, 9, 20, 61, 118, COUNT):
        among = distances[:count, :count]
        print(f"of {count}: any two {among.min():.1f}, neighbours {np.diag(among, 1).min():.1f}")


def choose(count: int) -> list[str]:
    """Choose colours ("#rrggbb"), Okabe and Ito's first."""
    grid = np.array(list(product(range(0, 256, GRID_STEP), repeat=3)))
    lab = rgb2lab(grid / 255)
    luminance = np.where(grid <= 10, grid / 255 / 12.92, ((grid / 255 + 0.055) / 1.055) ** 2.4) @ (
        0.2126,
        0.7152,
        0.0722,
    )
    visible = (luminance + 0.05) / 0.05 >= LEAST_CONTRAST_ON_BLACK
    visible &= 1.05 / (luminance + 0.05) >= LEAST_CONTRAST_ON_WHITE
    visible &= np.hypot(lab[:, 1], lab[:, 2]) >= LEAST_CHROMA
    grid, lab = grid[visible], lab[visible]
    chosen = list(OKABE_ITO)
    nearest = np.min([deltaE_ciede2000(lab, colour[None]) for colour in to_lab(chosen)], axis=0)
    while len(chosen) < count:
        farthest = int(nearest.argmax())
        chosen.append("#" + "".join(f"{value:02x}" for value in grid[farthest]))
        nearest = np.minimum(nearest, deltaE_ciede2000(lab, lab[farthest][None]))
    return chosen


def to_lab(colours: list[str]) -> np.ndarray:
    """Convert colours to CIELAB, (n, 3)."""
    return rgb2lab(np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in colours]) / 255)


if __name__ == "__main__":
    main()
