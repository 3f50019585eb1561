"""Makes one phantom scan from a seed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnunetv2_cfseg.data.phantom.background import bleed_into, read_background
from nnunetv2_cfseg.data.phantom.blood import Severity
from nnunetv2_cfseg.data.phantom.head import build_head
from nnunetv2_cfseg.data.phantom.render import Voxels, render
from nnunetv2_cfseg.data.phantom.scanner import Scanner, scan
from nnunetv2_cfseg.data.phantom.settings import CLASSES, PhantomSettings
from nnunetv2_cfseg.imaging.geometry import STRAIGHT, VolumeGeometry


@dataclass(frozen=True)
class PhantomCase:
    """A thin scan and its labels.

    Attributes:
        image: (Z, Y, X) int16, HU.
        labels: (Z, Y, X) uint8: 0, or a value of ``PhantomSettings.labels``.
        geometry: where the voxels of both lie.
        provenance: every parameter that was drawn, ready for JSON.
    """

    image: np.ndarray
    labels: np.ndarray
    geometry: VolumeGeometry
    provenance: dict[str, Any]


def make_case(settings: PhantomSettings, *, seed: int, index: int) -> PhantomCase:
    """Make the scan number ``index`` of the dataset with this seed; the same arguments give the same bytes.

    Raises:
        ValueError: the background is no head CT.
    """
    choice, head, scanner = np.random.default_rng([seed, index]).spawn(3)
    classes = draw_classes(settings, choice)
    if settings.background is not None:
        return _on_background(settings, classes, settings.background, head)
    built = build_head(classes, head, severity_of(settings))
    voxels = Voxels(settings.matrix, settings.spacing_mm, (settings.supersampling,) * 3)
    perfect = render(built.scene, voxels)
    imperfect = Scanner.draw(scanner, noise_hu=settings.noise_hu)
    image = scan(built.scene, perfect.hu, voxels, imperfect, scanner)
    x, y, z = (float(voxels.centres_mm(axis)[0]) for axis in (2, 1, 0))
    return PhantomCase(
        image,
        _relabelled(perfect.labels, settings),
        VolumeGeometry(settings.matrix, settings.spacing_mm, (x, y, z), STRAIGHT),
        {"classes": classes, "scanner": asdict(imperfect), **built.drawn},
    )


def severity_of(settings: PhantomSettings) -> Severity:
    """Which haemorrhages the settings allow."""
    return Severity(settings.smallest, settings.fresh)


def draw_classes(settings: PhantomSettings, rng: np.random.Generator) -> list[str]:
    """Draw the classes of a case, each with its own probability; draw again until there is at least one."""
    shares = np.array([settings.frequencies.get(name, 0.0) for name in CLASSES])
    while True:
        shown = rng.random(len(CLASSES)) < shares
        if shown.any():
            return [name for name, is_shown in zip(CLASSES, shown, strict=True) if is_shown]


def _relabelled(labels: np.ndarray, settings: PhantomSettings) -> np.ndarray:
    """(Z, Y, X): convert labels of ``CLASSES`` to those of the dataset."""
    new = np.zeros(max(CLASSES.values()) + 1, labels.dtype)
    for name, label in settings.labels.items():
        new[CLASSES[name]] = label
    return new[labels]


def _on_background(settings: PhantomSettings, classes: list[str], file: Path, rng: np.random.Generator) -> PhantomCase:
    background = read_background(file)
    image, labels, lesions = bleed_into(
        background, classes, samples=settings.supersampling, rng=rng, severity=severity_of(settings)
    )
    return PhantomCase(
        background.to_reference(np.clip(np.rint(image), -1024, 3071).astype(np.int16)),
        background.to_reference(_relabelled(labels, settings)),
        background.reference,
        {"classes": classes, "lesions": lesions},
    )
