"""Patients stay together, in the test set and in the folds."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunetv2_cfseg.data.pairing.patients import (
    check_apart,
    choose_test,
    patient_folds,
    patients_by_pattern,
    patients_by_table,
)

of_patients = st.lists(st.integers(0, 8), min_size=2, max_size=25).map(
    lambda numbers: {f"case_{i:02d}": f"patient {number}" for i, number in enumerate(numbers)}
)


class TestPattern:
    @pytest.mark.parametrize(
        ("pattern", "patients"),
        [
            (None, ["p1_a", "p1_b", "p2_a"]),
            ("^[^_]+", ["p1", "p1", "p2"]),
            (r"p(\d)", ["1", "1", "2"]),
            ("[ab]$", ["a", "b", "a"]),
        ],
    )
    def test_by_hand(self, pattern: str | None, patients: list[str]) -> None:
        names = ["p1_a", "p1_b", "p2_a"]
        assert patients_by_pattern(names, pattern) == dict(zip(names, patients, strict=True))

    @pytest.mark.parametrize("pattern", [r"p(\d)", "^x*"])
    def test_must_match_every_case(self, pattern: str) -> None:
        with pytest.raises(ValueError, match=r"must match every case, and '.*' does not match other$"):
            patients_by_pattern(["other"], pattern)

    def test_must_be_one(self) -> None:
        with pytest.raises(ValueError, match=r"must be a regular expression \(.*\), got '\('$"):
            patients_by_pattern(["a"], "(")


class TestTable:
    def test_names_the_patient_of_every_case(self, tmp_path: Path) -> None:
        file = tmp_path / "patients.csv"
        file.write_text("\ufeffpatient,sex,case\nMax, m,b \nMax,m,a\nEva,f,other\n")
        assert patients_by_table(["a", "b"], file) == {"a": "Max", "b": "Max"}

    @pytest.mark.parametrize(
        ("content", "named"),
        [
            (None, "must be a CSV file"),
            ("", "must have the columns case and patient, and rows"),
            ("case,patient\n", "must have the columns case and patient, and rows"),
            ("name,patient\na,1\n", "must have the columns case and patient, and rows"),
            ("case,patient\na,1\n", "has none for b"),
            ("case,patient\na,1\nb\n", "has none for b"),
            ("case,patient\na,1\nb,2\na,3\n", "must have one patient, and a has two"),
        ],
    )
    def test_refusals(self, tmp_path: Path, content: str | None, named: str) -> None:
        file = tmp_path / "patients.csv"
        if content is not None:
            file.write_text(content)
        with pytest.raises(ValueError, match=f"{named}.*: .*patients.csv$"):
            patients_by_table(["a", "b"], file)


class TestTest:
    @given(of_patients, st.floats(0, 0.9), st.integers(0, 5))
    def test_takes_whole_patients(self, patients: dict[str, str], share: float, seed: int) -> None:
        number = len(set(patients.values()))
        count = max(1, round(share * number)) if share else 0
        if count == number:
            with pytest.raises(ValueError, match=f"a share of .* leaves none of {number} patients"):
                choose_test(patients, share=share, seed=seed)
            return
        test = choose_test(patients, share=share, seed=seed)
        assert test == sorted(test)
        assert len({patients[case] for case in test}) == count
        check_apart(patients, test)
        assert test == choose_test(dict(reversed(patients.items())), share=share, seed=seed)

    def test_is_decided_by_the_seed(self) -> None:
        patients = {f"case_{i:02d}": str(i) for i in range(30)}
        assert len({tuple(choose_test(patients, share=0.2, seed=seed)) for seed in range(5)}) == 5

    @pytest.mark.parametrize("share", [-0.1, 1, 2, float("nan")])
    def test_is_a_share(self, share: float) -> None:
        with pytest.raises(ValueError, match=f"must be at least 0 and below 1, got {share:g}$"):
            choose_test({"a": "1", "b": "2"}, share=share, seed=0)

    def test_with_a_patient_who_is_trained_on_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"^no patient .* and b of the test set has the same patient as a$"):
            check_apart({"a": "1", "b": "1", "c": "2"}, ["b", "c"])


class TestFolds:
    @given(of_patients, st.integers(2, 6), st.integers(0, 5))
    def test_keep_patients_together(self, patients: dict[str, str], folds: int, seed: int) -> None:
        number = len(set(patients.values()))
        if number < 2:
            return
        classes = {case: [str(i % 3)] for i, case in enumerate(patients)}
        made = patient_folds(patients, classes, folds=folds, seed=seed)
        assert len(made) == min(folds, number)
        assert sorted(case for fold in made for case in fold["val"]) == sorted(patients)
        for fold in made:
            assert sorted(fold["train"] + fold["val"]) == sorted(patients)
            assert fold["train"] == sorted(fold["train"])
            assert not {patients[case] for case in fold["train"]} & {patients[case] for case in fold["val"]}
        assert made == patient_folds(patients, classes, folds=folds, seed=seed)

    def test_share_out_rare_classes_by_patient(self) -> None:
        patients = {f"case_{i:02d}": str(i // 2) for i in range(20)}
        classes = {case: ["rare"] if int(patient) < 5 else [] for case, patient in patients.items()}
        for fold in patient_folds(patients, classes, folds=5, seed=1):
            assert len(fold["val"]) == 4
            assert sum(bool(classes[case]) for case in fold["val"]) == 2
