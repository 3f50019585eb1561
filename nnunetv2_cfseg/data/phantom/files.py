"""Writes the files of one phantom case in an nnU-Net dataset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from nnunetv2_cfseg.data.phantom.case import PhantomCase, make_case
from nnunetv2_cfseg.data.phantom.settings import PhantomSettings
from nnunetv2_cfseg.files.atomic_files import write_json
from nnunetv2_cfseg.files.checksum import are_whole
from nnunetv2_cfseg.files.resumable_dataset import put_in_place, unfinished_file
from nnunetv2_cfseg.files.text_files import read_json
from nnunetv2_cfseg.imaging.geometry import Volume
from nnunetv2_cfseg.imaging.slabs import annotate_slabs, average_slabs
from nnunetv2_cfseg.imaging.write import write_volume

FILE_ENDING = ".nii.gz"


@dataclass(frozen=True)
class CaseFiles:
    """One case of a dataset: what it is made of and where it is written.

    Attributes:
        folder: of the dataset.
        part: ``Tr`` or ``Ts``.
    """

    settings: PhantomSettings
    folder: Path
    seed: int
    index: int
    part: str

    @property
    def name(self) -> str:
        """nnU-Net's case identifier."""
        return f"phantom_{self.index:03d}"

    @property
    def images(self) -> list[str]:
        """Paths within the dataset's folder: scan and labels, then the thick ones if there are any."""
        resolutions = [""] if self.settings.factor == 1 else ["", "_thick"]
        return [
            file
            for resolution in resolutions
            for file in (
                f"images{self.part}{resolution}/{self.name}_0000{FILE_ENDING}",
                f"labels{self.part}{resolution}/{self.name}{FILE_ENDING}",
            )
        ]

    @property
    def provenance(self) -> Path:
        """File with the case's parameters; it is written last, so a case that has it is complete."""
        return self.folder / "provenance" / f"{self.name}.json"

    def are_complete(self) -> bool:
        """Whether all files are there and unchanged."""
        try:
            outputs = read_json(self.provenance).get("outputs")
        except ValueError:  # missing or truncated
            return False
        return isinstance(outputs, dict) and set(outputs) == set(self.images) and are_whole(self.folder, outputs)


def write_case(files: CaseFiles) -> None:
    """Make a case and write its files; each appears whole or not at all."""
    with threadpool_limits(1):  # more threads would sum in another order and give other bytes
        case = make_case(files.settings, seed=files.seed, index=files.index)
    for file, volume in zip(files.images, _volumes(case, files.settings.factor), strict=True):
        write_volume(volume.values, volume.geometry, unfinished_file(files.folder, files.name, file))
    outputs = put_in_place(files.folder, files.name, files.images)
    files.provenance.parent.mkdir(exist_ok=True)
    own = {"seed": files.seed, "index": files.index, "volume_ml": _volume_ml(case, files.settings), "outputs": outputs}
    write_json(files.provenance, {**case.provenance, **own})


def _volumes(case: PhantomCase, factor: int) -> list[Volume]:
    """The volumes in the order of ``CaseFiles.images``; a thick slice lies at the centre of its slab."""
    volumes = [Volume(case.image, case.geometry), Volume(case.labels, case.geometry)]
    if factor > 1:
        image = np.rint(average_slabs(case.image, factor)).astype(np.int16)
        thick = case.geometry.with_slices(0, case.geometry.spacing_mm[0] * factor, len(image))
        volumes += [Volume(image, thick), Volume(annotate_slabs(case.labels, factor), thick)]
    return volumes


def _volume_ml(case: PhantomCase, settings: PhantomSettings) -> dict[str, float]:
    voxel_ml = case.geometry.voxel_ml
    return {name: float((case.labels == value).sum() * voxel_ml) for name, value in settings.labels.items()}
