"""How well the check for Hounsfield units works: a table of verdicts on real scans and spoilt copies of them.

    python experiments/hounsfield.py DATA [-o hounsfield.csv]

reads every NIfTI image and every DICOM CT slice below DATA, spoils it in each of the ways below and counts verdicts.
The first kinds should pass, the middle ones should give a warning, the others should be refused. A line on stderr names
each file that is judged otherwise, except for the middle kinds. Predictions and labels are left out by their names.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from nnunetv2_cfseg.imaging.hounsfield import judge_hounsfield
from nnunetv2_cfseg.imaging.read import read_volume

Spoil = Callable[[np.ndarray], np.ndarray]
LABELS = ("_seg62", "_aorta.nii", "lesion_labels", "reference_mask")


def windowed(low: float, high: float, top: float = 255, least: float = 0) -> Spoil:
    """Grey values from ``least`` to ``least + top`` of a window."""
    return lambda hu: (np.clip((hu - low) / (high - low), 0, 1) * top + least).round()


def padded(value: float, spoil: Spoil = lambda hu: hu) -> Spoil:
    """Apply ``spoil``, then set voxels outside the largest circle in each slice to ``value``."""

    def pad(hu: np.ndarray) -> np.ndarray:
        y, x = np.ogrid[-1 : 1 : hu.shape[-2] * 1j, -1 : 1 : hu.shape[-1] * 1j]
        return np.where(y * y + x * x > 1, np.float32(value), spoil(hu))

    return pad


def one_voxel(value: float, spoil: Spoil) -> Spoil:
    """Apply ``spoil``, then set one voxel to ``value``."""

    def set_one(hu: np.ndarray) -> np.ndarray:
        spoilt = spoil(hu).copy()
        spoilt.flat[spoilt.size // 3] = value
        return spoilt

    return set_one


KINDS: dict[str, tuple[str, Spoil]] = {
    "as it is": ("hu", lambda hu: hu),
    "padded with -2000": ("hu", padded(-2000)),
    "padded with -3024": ("hu", padded(-3024)),
    "padded with -32768": ("hu", padded(-32768)),
    "clipped to -1000 to 1000": ("hu", lambda hu: np.clip(hu, -1000, 1000)),
    "+100": ("doubtful", lambda hu: hu + 100),
    "+150": ("doubtful", lambda hu: hu + 150),
    "+200": ("doubtful", lambda hu: hu + 200),
    "+300": ("doubtful", lambda hu: hu + 300),
    "-150": ("doubtful", lambda hu: hu - 150),
    "-300": ("doubtful", lambda hu: hu - 300),
    "clipped to -160 to 240": ("doubtful", lambda hu: np.clip(hu, -160, 240)),
    "no intercept (+1024)": ("not_hu", lambda hu: hu + 1024),
    "no intercept (+1000)": ("not_hu", lambda hu: hu + 1000),
    "no intercept, padded with -2000": ("not_hu", padded(-2000, lambda hu: hu + 1024)),
    "no intercept, padded with 0": ("not_hu", padded(0, lambda hu: hu + 1024)),
    "no intercept, a voxel of -1": ("not_hu", one_voxel(-1, lambda hu: hu + 1024)),
    "intercept twice (-1024)": ("not_hu", lambda hu: hu - 1024),
    "intercept twice (-1000)": ("not_hu", lambda hu: hu - 1000),
    "intercept twice, padded with -3024": ("not_hu", padded(-3024, lambda hu: hu - 1024)),
    "+500": ("not_hu", lambda hu: hu + 500),
    "-500": ("not_hu", lambda hu: hu - 500),
    "+700": ("not_hu", lambda hu: hu + 700),
    "+2048": ("not_hu", lambda hu: hu + 2048),
    "+32768": ("not_hu", lambda hu: hu + 32768),
    "times 2": ("not_hu", lambda hu: hu * 2),
    "times 0.5": ("not_hu", lambda hu: hu * 0.5),
    "times 10": ("not_hu", lambda hu: hu * 10),
    "no intercept, times 2": ("not_hu", lambda hu: (hu + 1024) * 2),
    "negated": ("not_hu", lambda hu: -hu),
    "brain window, 0 to 255": ("not_hu", windowed(0, 80)),
    "abdomen window, 0 to 255": ("not_hu", windowed(-160, 240)),
    "lung window, 0 to 255": ("not_hu", windowed(-1350, 150)),
    "all of CT, 0 to 255": ("not_hu", windowed(-1024, 3071)),
    "brain window, -128 to 127": ("not_hu", windowed(0, 80, least=-128)),
    "abdomen window, -128 to 127": ("not_hu", windowed(-160, 240, least=-128)),
    "bone window, -128 to 127": ("not_hu", windowed(-500, 1500, least=-128)),
    "all of CT, 0 to 65535": ("not_hu", windowed(-1024, 3071, top=65535)),
    "0 to 1": ("not_hu", lambda hu: (hu + 1024) / 4095),
    "-1 to 1": ("not_hu", lambda hu: (hu + 1024) / 2048 - 1),
    "mean 0, deviation 1": ("not_hu", lambda hu: (hu - hu.mean()) / hu.std()),
    "attenuation, 1/cm": ("not_hu", lambda hu: (hu / 1000 + 1) * 0.19),
}


def main() -> None:
    """Print the table, and write it to a CSV if one was named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("-o", type=Path, metavar="CSV")
    args = parser.parse_args()
    counts = count(args.data)
    rows = [["kind", "expected", "hu", "doubtful", "not_hu"]]
    rows += [[kind, KINDS[kind][0], *(str(levels[level]) for level in rows[0][2:])] for kind, levels in counts.items()]
    for row in rows:
        print("".join([row[0].ljust(36), *(cell.rjust(10) for cell in row[1:])]))
    if args.o:
        with args.o.open("w", newline="") as file:
            csv.writer(file).writerows(rows)


def count(data: Path) -> dict[str, Counter]:
    """Count the verdicts on each kind."""
    counts: dict[str, Counter] = defaultdict(Counter)
    for name, hu in scans(data):
        for kind, (expected, spoil) in KINDS.items():
            verdict = judge_hounsfield(spoil(hu))
            counts[kind][verdict.level] += 1
            if verdict.level != expected and expected != "doubtful":
                print(f"{name}, {kind}: {verdict.level}, {verdict.reason}", file=sys.stderr)
    return counts


def scans(data: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the name and values of every CT; large ones are thinned, and a folder of DICOM slices is a scan."""
    for file in sorted(data.rglob("*.nii.gz")):
        if (
            "labels" not in file.parent.name
            and not file.name.endswith(LABELS)
            and not any(w in file.name for w in LABELS)
        ):
            yield str(file.relative_to(data)), thinned(read_volume(file).values)
    for folder in sorted({file.parent for file in data.rglob("*") if file.is_file()}):
        for (shape, _), slices in dicom_slices(folder).items():
            name = f"{folder.relative_to(data)} {shape[1]} x {shape[0]}"
            yield name, thinned(np.stack(slices))


def dicom_slices(folder: Path) -> dict[tuple[tuple[int, ...], str], list[np.ndarray]]:
    """CT slices of a folder by size and series, without scouts."""
    slices: dict[tuple[tuple[int, ...], str], list[np.ndarray]] = defaultdict(list)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    for file in sorted(path for path in folder.iterdir() if path.is_file()):
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(file))
        reader.SetImageIO("GDCMImageIO")
        try:
            image = reader.Execute()
        except RuntimeError:
            continue
        tags = {tag: image.GetMetaData(tag).strip() for tag in image.GetMetaDataKeys()}
        is_scout = "LOCALIZER" in tags.get("0008|0008", "")
        if tags.get("0008|0060") == "CT" and image.GetNumberOfComponentsPerPixel() == 1 and not is_scout:
            for plane in sitk.GetArrayFromImage(image).reshape(-1, *image.GetSize()[1::-1]):
                slices[plane.shape, tags.get("0020|000e", "")].append(plane)
    return slices


def thinned(values: np.ndarray) -> np.ndarray:
    """Values as float32, with every other voxel in the plane if there are more than 4 million."""
    return (values if values.size < 4e6 else values[..., ::2, ::2]).astype(np.float32)


if __name__ == "__main__":
    main()
