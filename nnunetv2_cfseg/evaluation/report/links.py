"""The files that a report leads to."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nnunetv2_cfseg.csv_cells import table_to_csv
from nnunetv2_cfseg.evaluation.evaluate import Evaluation
from nnunetv2_cfseg.evaluation.files import Case
from nnunetv2_cfseg.evaluation.report.page import File
from nnunetv2_cfseg.evaluation.summary import with_files_from


def find_images(cases: Sequence[Case], folder: Path) -> dict[str, Path]:
    """The image of each case: ``CASE_0000.ENDING``, nnU-Net's first channel, or ``CASE.ENDING``.

    Raises:
        ValueError: there is no such folder, or no image of a case.
    """
    if not folder.is_dir():
        raise ValueError(f"images must lie in a folder, and there is none: {folder}")
    images = {}
    for case in cases:
        ending = case.truth.name.removeprefix(case.name)
        names = (f"{case.name}_0000{ending}", f"{case.name}{ending}")
        found = [folder / name for name in names if (folder / name).is_file()]
        if not found:
            raise ValueError(f"each case needs an image, {names[0]} or {names[1]}, and there is none in: {folder}")
        images[case.name] = found[0]
    return images


def relative_link(file: Path, output: Path) -> str:
    """The address of a file or folder as seen from the report."""
    path = os.path.relpath(file.resolve(), output.resolve().parent)
    return quote(path) + ("/" if file.is_dir() else "")


def case_links(case: Case, image: Path | None, output: Path) -> dict[str, str]:
    """Addresses of a case's files, by the words to show."""
    named = {"image": image, "ground truth": case.truth, "prediction": case.prediction}
    return {words: relative_link(file, output) for words, file in named.items() if file is not None}


def page_files(
    evaluation: Evaluation, summary: Mapping[str, Any], *, output: Path, images: Path | None, model: Path | None
) -> list[File]:
    """The numbers, which the page holds itself, and the folders that it was made from."""
    stem = output.stem
    table = table_to_csv(evaluation.table)
    summary = with_files_from(summary, evaluation.cases, output.parent)
    folders = {
        "ground truth": evaluation.cases[0].truth.parent,
        "predictions": evaluation.cases[0].prediction.parent,
        "images": images,
        "model": model,
    }
    return [
        File(_data("text/csv", table), f"{stem}.csv", ": all measures of all cases and classes", f"{stem}.csv"),
        File(
            _data("application/json", json.dumps(summary, indent=1)),
            f"{stem}.json",
            ": nnU-Net's summary with intervals",
            f"{stem}.json",
        ),
        *(File(relative_link(folder, output), words)
          for words, folder in folders.items() if folder is not None),
    ]  # fmt: skip


def _data(kind: str, text: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(text.encode()).decode()}"
