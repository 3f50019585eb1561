"""Links from a report to files."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nnunetv2_cfseg.evaluation.evaluate import Evaluation
from nnunetv2_cfseg.evaluation.files import Case
from nnunetv2_cfseg.evaluation.report.observations import Observations, Unreferenced
from nnunetv2_cfseg.evaluation.report.page import File
from nnunetv2_cfseg.files.csv_cells import table_to_csv
from nnunetv2_cfseg.files.json_text import to_json
from nnunetv2_cfseg.files.private_paths import seen_from
from nnunetv2_cfseg.imaging.case_images import find_case_images


def find_images(cases: Sequence[Case | Unreferenced], folder: Path) -> dict[str, Path]:
    """Find the image of each case.

    Raises:
        ValueError: the folder does not exist, or a case has no image.
    """
    ending = cases[0].prediction.name.removeprefix(cases[0].name)
    return find_case_images([case.name for case in cases], folder, ending)


def relative_link(file: Path, output: Path) -> str:
    """The address of a file or folder relative to the report; empty if it would reveal private folders."""
    path = seen_from(file, output.parent)
    return "" if path is None else quote(path) + ("/" if file.is_dir() else "")


def case_links(case: Case | Unreferenced, image: Path | None, output: Path) -> dict[str, str]:
    """Addresses of a case's files, by link text; files without an address are left out."""
    named = {"image": image, "ground truth": case.truth, "prediction": case.prediction}
    addresses = {words: relative_link(file, output) for words, file in named.items() if file is not None}
    return {words: address for words, address in addresses.items() if address}


def page_files(
    evaluation: Evaluation, summary: Mapping[str, Any], *, output: Path, images: Path | None, model: Path | None
) -> list[File]:
    """The table and summary, which the page itself holds, and the folders that it was made from."""
    first = evaluation.cases[0]
    shown = {**summary, "metric_per_case": [_without_folders(case, output) for case in summary["metric_per_case"]]}
    return [
        _table(table_to_csv(evaluation.table), output),
        File(
            _data("application/json", to_json(shown, indent=1)),
            f"{output.stem}.json",
            ": nnU-Net's summary with intervals",
            f"{output.stem}.json",
        ),
        *_folders({"ground truth": first.truth.parent, "predictions": first.prediction.parent, "images": images,
                   "model": model}, output),
    ]  # fmt: skip


def unreferenced_files(
    observations: Observations, *, output: Path, images: Mapping[str, Path] | None, model: Path | None
) -> list[File]:
    """The table, which the page itself holds, and the folders that it was made from, without a reference."""
    predictions = observations.cases[0].prediction.parent
    folder = next(iter(images.values())).parent if images else None
    return [
        _table(table_to_csv(observations.table), output),
        *_folders({"predictions": predictions, "images": folder, "model": model}, output),
    ]


def _table(csv: str, output: Path) -> File:
    return File(
        _data("text/csv", csv), f"{output.stem}.csv", ": all measures of all cases and classes", f"{output.stem}.csv"
    )


def _folders(folders: Mapping[str, Path | None], output: Path) -> list[File]:
    return [File(relative_link(folder, output), words) for words, folder in folders.items() if folder is not None]


def _without_folders(case: Mapping[str, Any], output: Path) -> dict[str, Any]:
    """nnU-Net's entry of a case with file paths relative to the report."""
    files = {key: Path(case[key]) for key in ("prediction_file", "reference_file")}
    return {**case, **{key: seen_from(file, output.parent) or file.name for key, file in files.items()}}


def _data(kind: str, text: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(text.encode()).decode()}"
