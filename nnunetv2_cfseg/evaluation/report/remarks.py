"""Remark on segmentations without a reference, by rules that a page can state."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from nnunetv2_cfseg.evaluation.report.findings import volume_in_words

#: Remark on a class if at least this fraction of its volume lies outside its largest piece.
STRAY_SHARE = 0.01
#: Remark on a volume more than this many times larger or smaller than the median, if enough cases show the class.
UNUSUAL_RATIO, FEWEST_CASES = 3.0, 5
#: Remark on an absent class if at least this fraction of the other cases shows it.
USUAL_SHARE = 0.5
NOT_FOUND = "not found, though at least half of the other cases show it"
RULES = (
    "A class is listed if this case lacks it and at least half of the others show it; if it reaches an end of the "
    "scan, so that only the scanned part of its volume is known; if 1 % of its volume or more lies apart from its "
    "largest piece; and if its volume is more than three times, or less than a third of, the median of five cases or "
    "more. What is listed is not always wrong, and what is not listed may be."
)


@dataclass(frozen=True)
class Remark:
    """An unusual property of a class in a case; ``kind`` is empty, border, pieces or volume."""

    case: str
    class_name: str
    kind: str
    words: str

    @property
    def text(self) -> str:
        """The remark with the name of the class."""
        return f"{self.class_name}: {self.words}"


def find_remarks(table: pd.DataFrame) -> list[Remark]:
    """Find all remarks, in the order of the cases; for each case, absent classes come first.

    Args:
        table: table of observations.
    """
    remarks = []
    usual = {name: _Usual.of(rows) for name, rows in table.groupby("class", sort=False)}
    for case, rows in table.groupby("case", sort=False):
        if not rows["volume_ml"].any():
            remarks.append(Remark(str(case), "", "empty", "nothing was found in this scan"))
            continue
        case_remarks = [remark for row in rows.to_dict("records") for remark in _remarks(row, usual[row["class"]])]
        remarks += sorted(case_remarks, key=lambda remark: ("empty", "volume", "pieces", "border").index(remark.kind))
    return remarks


@dataclass(frozen=True)
class _Usual:
    """The number of cases, the number that show a class, and the median of its volumes."""

    cases: int
    shown: int
    median_ml: float

    @classmethod
    def of(cls, rows: pd.DataFrame) -> _Usual:
        volumes = rows.loc[rows["volume_ml"] > 0, "volume_ml"]
        return cls(len(rows), len(volumes), float(volumes.median()) if len(volumes) else 0.0)


def _remarks(row: dict, usual: _Usual) -> list[Remark]:
    case, name, volume = str(row["case"]), str(row["class"]), float(row["volume_ml"])
    if not volume:
        others = usual.cases - 1
        if others and usual.shown >= USUAL_SHARE * others:
            return [Remark(case, name, "empty", NOT_FOUND)]
        return []
    remarks = []
    if usual.shown >= FEWEST_CASES and not 1 / UNUSUAL_RATIO <= volume / usual.median_ml <= UNUSUAL_RATIO:
        words = f"{volume_in_words(volume)}; the median of {usual.shown} cases is {volume_in_words(usual.median_ml)}"
        remarks.append(Remark(case, name, "volume", words))
    stray_ml = volume - float(row["largest_piece_ml"])
    if stray_ml >= STRAY_SHARE * volume:
        words = f"in {row['pieces']} pieces; {volume_in_words(stray_ml)} of {volume_in_words(volume)} lie apart from "
        remarks.append(Remark(case, name, "pieces", f"{words}the largest"))
    if row["border"]:
        remarks.append(Remark(case, name, "border", f"reaches the end of the scan: {row['border']}"))
    return remarks
