"""Tables and page of what was measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from nnunetv2_cfseg.benchmark.collect import Results, collect
from nnunetv2_cfseg.benchmark.matrix import Cell, Matrix
from nnunetv2_cfseg.benchmark.page import render, sortable
from nnunetv2_cfseg.benchmark.row import Row
from nnunetv2_cfseg.benchmark.run import announcement, write_results
from nnunetv2_cfseg.benchmark.settings_file import remember
from nnunetv2_cfseg.benchmark.tables import Block, blocks, markdown


def test_tables(results: Results) -> None:
    found = blocks(results, "theirs <b>")
    assert [block.title for block in found] == [
        f"Dataset501_A: {what}" for what in ("ranking", "classes", "against theirs <b>", "cases to look at")
    ]
    best, _ = found[0].rows
    assert best[:2] == ("ours", "2")
    assert best[2].startswith("0.715 [")
    assert best[-5:] == ("60", "1.0", "2.0", "1.50", "2.0")
    assert "boundary" not in " ".join(found[0].head)  # it was not measured
    assert found[2].rows[0][3] == "+0.100"
    text = markdown("Benchmark", ["Two rows."], found)
    assert text.startswith("# Benchmark\n\nTwo rows.\n\n## Dataset501_A: ranking\n\n3 cases, the test set, labelsTs. ")


def test_without_a_reference_there_are_no_tests(results: Results) -> None:
    assert [block.title for block in blocks(results, "nobody")] == ["Dataset501_A: ranking", "Dataset501_A: classes"]


def test_cells_are_sorted_by_their_number() -> None:
    head = ("row", "mean", "p", "change", "case", "none")
    (row,) = sortable(
        Block("Title", "", head, (("ours", "0.5 [0.4, 0.6]", "< 0.001", "+0.2", "12a", "\N{EN DASH}"),))
    ).rows
    assert [(cell.words, cell.small, cell.sort) for cell in row.cells] == [
        ("0.5", "[0.4, 0.6]", "0.5"), ("< 0.001", "", "0.001"), ("+0.2", "", "0.2"), ("12a", "", ""),
        ("\N{EN DASH}", "", "nan"),
    ]  # fmt: skip


def test_the_page_holds_tables_and_charts_and_escapes_names(results: Results) -> None:
    page = render("Benchmark", ["Two rows."], results, blocks(results, "ours"), "cfseg benchmark -o <out>")
    assert page.count("<figure>") == 1  # both took as long to train, and as much memory
    assert "theirs &lt;b&gt;: Dice 0.615, 10 seconds a case" in page
    assert "theirs <b>" not in page
    assert "cfseg benchmark -o &lt;out&gt;" in page
    assert page.count('class="ring"') == 1
    assert '<td data-sort="0.715">0.715<small>[' in page  # sorted by the mean, not by the words
    assert "http" not in page.replace("http-equiv", "")


def write_cell(output: Path, cell: Cell, figures: pd.DataFrame) -> None:
    folder = output / cell.folder
    folder.mkdir(parents=True)
    figures.drop(columns=["dataset", "row", "fold", "seed"]).to_csv(folder / "summary.csv", index=False)
    record = {
        "cell": {"cases": 3, "scored_on": "the test set, labelsTs"}, "threads": 1, "machine": {"cores": 2},
        "train": {"seconds": 60.0, "peak_bytes": 1e9}, "predict": {"seconds": 30.0, "peak_bytes": 2e9},
        "network": {"parameters": 10, "flops_per_voxel": 5.0, "peak_gpu_bytes": 0},
    }  # fmt: skip
    (folder / "cell.json").write_text(json.dumps(record))


def test_what_is_done_is_collected(results: Results, tmp_path: Path) -> None:
    rows = (Row("ours", "T_timed"), Row("theirs <b>", "U_timed"))
    matrix = Matrix(rows, ("Dataset501_A",), seeds=(1, 2), budget_s=60)
    cells = list(matrix.cells())
    assert len(collect(cells, tmp_path).figures) == 0
    assert announcement(matrix, tmp_path, 2).startswith("4 cells, 0 of them done; about 5 min with 2 at a time")
    for cell in cells[:3]:
        of_cell = results.figures[(results.figures["row"] == cell.row.name) & (results.figures["seed"] == cell.seed)]
        write_cell(tmp_path, cell, of_cell)
    found = collect(cells, tmp_path)
    assert len(found.figures) == 18
    assert list(found.costs["predict_s_per_case"]) == [10.0] * 3
    assert list(found.figures["case"].unique()) == ["1", "2", "3"]
    assert found.machines == ({"cores": 2},)
    write_results(matrix, cells, tmp_path, "cfseg benchmark")
    assert "3 of 4 cells" in (tmp_path / "results.md").read_text()
    assert len(pd.read_csv(tmp_path / "costs.csv")) == 3
    assert "<title>Benchmark</title>" in (tmp_path / "report.html").read_text()
    assert not list(tmp_path.glob("*.tmp"))


def test_a_folder_holds_cells_of_one_kind(tmp_path: Path) -> None:
    ours, theirs = Row("ours", "T_timed"), Row("theirs", "U_timed")
    matrix = Matrix((ours,), ("Dataset501_A",), budget_s=60)
    remember(replace(matrix, budget_s=5), tmp_path)  # refused afterwards: it left no cell
    remember(matrix, tmp_path)
    (cell,) = matrix.cells()
    (tmp_path / cell.folder).mkdir(parents=True)
    remember(replace(matrix, rows=(theirs,), seeds=(1, 2)), tmp_path)  # more of it
    remember(replace(matrix, rows=(ours, theirs)), tmp_path)
    remember(replace(matrix, rows=(replace(ours, datasets=("Dataset501_A", "502")),)), tmp_path)
    other = replace(theirs, changes={"batch_size": 4})
    for changed, what in (
        (replace(matrix, budget_s=90), "budget_s"), (replace(matrix, rows=(ours, other)), "row theirs"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"{what} differs from the folder's cells"):
            remember(changed, tmp_path)
    assert json.loads((tmp_path / "benchmark.json").read_text())["rows"].keys() == {"ours", "theirs"}
