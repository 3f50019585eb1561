"""Plans of small synthetic datasets, made the way ``cfseg plan_and_preprocess`` makes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from nnunetv2.preprocessing.normalization.default_normalization_schemes import CTNormalization
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunetv2_cfseg.networks.presets import PRESETS, preset
from nnunetv2_cfseg.networks.windows import WINDOWS_HU
from nnunetv2_cfseg.planners.cfseg_planner import PLANS_NAME, SIZES
from nnunetv2_cfseg.planners.plan_and_preprocess import plan_and_preprocess

NAME = "Dataset901_Phantom"


class Planning:
    """A synthetic dataset and its plans."""

    def __init__(self, folders: SimpleNamespace, write_raw_dataset: Callable[..., Path]) -> None:
        self.folders = folders
        self.write_raw_dataset = write_raw_dataset
        self.preprocessed: Path = folders.preprocessed / NAME

    def write(self, **kwargs: Any) -> None:
        self.write_raw_dataset(self.folders.raw, NAME, **{"cases": 2, **kwargs})

    def plan(self, **kwargs: Any) -> dict[str, Any]:
        plan_and_preprocess(
            [901],
            **{
                "gpu_memory_target_gb": 1,
                "num_processes_fingerprint": 1,
                "preprocess": False,
                "progress": False,
                **kwargs,
            },
        )
        return self.plans()

    def plans(self) -> dict[str, Any]:
        return json.loads((self.preprocessed / f"{PLANS_NAME}.json").read_text())

    def fingerprint(self) -> dict[str, Any]:
        return json.loads((self.preprocessed / "dataset_fingerprint.json").read_text())

    def written(self) -> list[str]:
        return sorted(str(p.relative_to(self.folders.preprocessed)) for p in self.folders.preprocessed.rglob("*"))


@pytest.fixture
def planning(
    nnunet_folders: SimpleNamespace, write_raw_dataset: Callable[..., Path], threads_for_processes: None
) -> Planning:
    return Planning(nnunet_folders, write_raw_dataset)


@pytest.fixture
def ct(planning: Planning) -> Planning:
    planning.write()
    return planning


def fullres(plans: dict[str, Any]) -> dict[str, Any]:
    return plans["configurations"]["3d_fullres"]


def arch_kwargs(plans: dict[str, Any]) -> dict[str, Any]:
    return fullres(plans)["architecture"]["arch_kwargs"]


def network_from_plans(plans: dict[str, Any], *, channels: int = 1, classes: int = 3) -> torch.nn.Module:
    configuration = PlansManager(plans).get_configuration("3d_fullres")
    return get_network_from_plans(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        channels,
        classes,
    )


class TestPlansOfACT:
    def test_clip_as_wide_as_ct_with_the_mean_and_std_of_the_foreground(self, ct: Planning) -> None:
        properties = ct.plan()["foreground_intensity_properties_per_channel"]["0"]
        found = ct.fingerprint()["foreground_intensity_properties_per_channel"]["0"]
        assert (properties["percentile_00_5"], properties["percentile_99_5"]) == (-1024, 3071)
        assert {k: properties[k] for k in ("mean", "std", "median")} == {k: found[k] for k in ("mean", "std", "median")}
        # The phantom's organs are at 700 and -90 HU: a narrower clip range is what nnU-Net would have taken.
        assert -90 < properties["mean"] < 700
        assert found["percentile_99_5"] < 800

    def test_hold_3d_configurations_alone(self, ct: Planning) -> None:
        plans = ct.plan()
        assert list(plans["configurations"]) == ["3d_fullres"]
        assert plans["plans_name"] == PLANS_NAME
        assert plans["experiment_planner_used"] == "CFSegPlanner"
        assert "next_stage" not in fullres(plans)

    def test_take_dice_over_the_batch(self, ct: Planning) -> None:
        assert fullres(ct.plan())["batch_dice"] is True

    def test_resample_with_torch(self, ct: Planning) -> None:
        configuration = fullres(ct.plan())
        for part in ("data", "seg", "probabilities"):
            assert configuration[f"resampling_fn_{part}"] == "resample_torch_fornnunet"
        assert configuration["resampling_fn_data_kwargs"]["is_seg"] is False
        assert configuration["resampling_fn_seg_kwargs"]["is_seg"] is True
        assert configuration["resampling_fn_probabilities_kwargs"]["is_seg"] is False

    def test_are_all_the_network_needs(self, ct: Planning) -> None:
        plans = ct.plan()
        network = network_from_plans(plans)
        crop = fullres(plans)["patch_size"]
        with torch.no_grad():
            assert network(torch.zeros(1, 1, *crop)).shape == (1, 3, *crop)

    @pytest.mark.parametrize("preset", PRESETS)
    def test_continue_a_scan_with_its_last_voxels(self, ct: Planning, preset: str) -> None:
        """The key is in new plans, whatever their preset; in plans without it the network keeps to zeros."""
        plans = ct.plan(preset=preset, gpu_memory_target_gb=8)
        assert arch_kwargs(plans)["beyond_scan"] == "edge"
        assert network_from_plans(plans).beyond_scan.mode == "edge"
        del arch_kwargs(plans)["beyond_scan"]
        assert network_from_plans(plans).beyond_scan.mode == "mean"

    def test_let_the_network_undo_the_normalisation(self, ct: Planning) -> None:
        plans = ct.plan()
        network = network_from_plans(plans)
        hu = np.array([-3000, -1024, -500, -90, 0, 35, 80, 700, 3071, 16438], dtype=np.float32)
        scheme = CTNormalization(
            use_mask_for_norm=False,
            intensityproperties=plans["foreground_intensity_properties_per_channel"]["0"],
            target_dtype=np.float32,
        )
        normalised = torch.from_numpy(scheme.run(hu.copy(), None)).reshape(1, 1, -1, 1, 1)
        expected = [
            np.clip(2 * (np.clip(hu, -1024, 3071) - low) / (high - low) - 1, -1, 1)
            for low, high in (WINDOWS_HU[name] for name in preset("default")["window_names"])
        ]
        np.testing.assert_allclose(network.windows(normalised)[0, :, :, 0, 0], expected, atol=1e-3)

    def test_make_patches_near_cubes_in_mm_in_the_order_of_the_reordered_axes(self, planning: Planning) -> None:
        planning.write(spacing_mm=(1.5, 4.0, 4.0))  # nnU-Net puts the coarsest axis first
        plans = planning.plan()
        spacing_mm = np.array(fullres(plans)["spacing"])
        np.testing.assert_allclose(spacing_mm, (4.0, 1.5, 4.0))
        edges_mm = arch_kwargs(plans)["patch_size"] * spacing_mm
        assert np.ptp(edges_mm) <= 4.0
        assert np.prod(arch_kwargs(plans)["patch_size"]) == pytest.approx(216, rel=0.4)

    def test_make_a_crop_of_whole_centers_that_holds_a_block(self, ct: Planning) -> None:
        plans = ct.plan()
        kwargs = arch_kwargs(plans)
        crop, patch = np.array(fullres(plans)["patch_size"]), np.array(kwargs["patch_size"])
        assert (crop % (patch * kwargs["center_patches"]) == 0).all()
        assert (crop >= patch * kwargs["block_patches"]).all()

    def test_say_how_blocks_are_drawn(self, ct: Planning) -> None:
        plans = ct.plan()
        section = fullres(plans)["cfseg"]
        assert section["preset"] == "default"
        tokens = np.prod(np.broadcast_to(arch_kwargs(plans)["block_patches"], 3))
        assert section["blocks_per_crop"] * tokens >= 16 * 64
        assert 0 < section["foreground_fraction"] <= 1
        assert 0 <= section["border_fraction"] <= 1

    def test_mirror_a_ct_from_left_to_right_alone(self, ct: Planning) -> None:
        plans = ct.plan()
        assert fullres(plans)["cfseg"]["mirror_axes"] == [plans["transpose_forward"].index(2)]

    def test_mirror_other_scans_along_all_axes_and_know_no_hu(self, planning: Planning) -> None:
        planning.write(channel_names=("MRI",))
        section = fullres(planning.plan())["cfseg"]
        assert (section["mirror_axes"], section["foreground_hu"]) == ([0, 1, 2], None)

    def test_say_between_which_hu_foreground_lies(self, ct: Planning) -> None:
        low, high = fullres(ct.plan())["cfseg"]["foreground_hu"]
        fingerprint = json.loads((ct.preprocessed / "dataset_fingerprint.json").read_text())
        found = fingerprint["foreground_intensity_properties_per_channel"]["0"]
        assert (low, high) == (found["percentile_00_5"], found["percentile_99_5"])

    def test_do_not_mirror_where_labels_name_sides(self, planning: Planning) -> None:
        planning.write(labels={"background": 0, "kidney_left": 1, "kidney_right": 2})
        assert fullres(planning.plan())["cfseg"]["mirror_axes"] == []

    def test_follow_the_memory_target(self, ct: Planning) -> None:
        widths = [arch_kwargs(ct.plan(gpu_memory_target_gb=gb))["embed_dim"] for gb in (1, 8)]
        assert widths[0] < widths[1]

    def test_take_another_spacing_where_it_is_asked_for(self, ct: Planning) -> None:
        configuration = fullres(ct.plan(overwrite_target_spacing=(3, 3, 3)))
        assert configuration["spacing"] == [3.0, 3.0, 3.0]
        assert len(set(configuration["architecture"]["arch_kwargs"]["patch_size"])) == 1

    def test_take_another_name_where_it_is_asked_for(self, ct: Planning) -> None:
        ct.plan()
        ct.plan(plans_name="Mine", overwrite_target_spacing=(3, 3, 3))
        mine = json.loads((ct.preprocessed / "Mine.json").read_text())
        assert mine["plans_name"] == "Mine"
        assert fullres(mine)["data_identifier"] == "Mine_3d_fullres"
        assert fullres(ct.plans())["spacing"] != fullres(mine)["spacing"]

    def test_are_the_same_when_made_again(self, ct: Planning) -> None:
        assert ct.plan() == ct.plan()

    def test_are_described_in_a_line(self, ct: Planning, capsys: pytest.CaptureFixture[str]) -> None:
        ct.plan()
        printed = capsys.readouterr().out
        assert "3d_fullres: spacing [2.0, 1.5, 1.5] mm, patch" in printed
        assert "2D" not in printed
        assert "U-Net" not in printed

    @staticmethod
    def pretend_scans_are_large(planning: Planning, shape: list[int]) -> None:
        planning.plan()
        fingerprint = planning.fingerprint()
        fingerprint["shapes_after_crop"] = [shape] * 2
        fingerprint["spacings"] = [[5.0, 0.8, 0.8]] * 2
        (planning.preprocessed / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))

    def test_also_have_a_low_resolution_where_scans_are_large(self, ct: Planning) -> None:
        self.pretend_scans_are_large(ct, [120, 512, 512])
        plans = ct.plan()
        assert set(plans["configurations"]) == {"3d_fullres", "3d_lowres"}
        low = plans["configurations"]["3d_lowres"]
        assert low["batch_dice"] is True
        assert "next_stage" not in low
        assert low["data_identifier"] == f"{PLANS_NAME}_3d_lowres"
        # nnU-Net coarsens the plane first, until its axes are about alike.
        assert low["spacing"][0] / low["spacing"][1] < 5.0 / 0.8
        edges_mm = np.array(low["architecture"]["arch_kwargs"]["patch_size"]) * low["spacing"]
        assert np.ptp(edges_mm) <= max(low["spacing"])
        # It stops where the crop of nnU-Net's own network would hold a quarter of a scan.
        assert np.prod(low["median_image_size_in_voxels"]) < 1.2 * 4 * 128**3

    def test_have_no_low_resolution_where_nnunet_would_have_none(self, ct: Planning) -> None:
        self.pretend_scans_are_large(ct, [60, 256, 256])  # 3.9 million voxels
        assert list(ct.plan()["configurations"]) == ["3d_fullres"]


class TestPlansOfOtherModalities:
    def test_of_mri_have_no_windows_and_nnunets_own_normalisation(self, planning: Planning) -> None:
        planning.write(channel_names=["T1"])
        plans = planning.plan()
        assert arch_kwargs(plans)["windows"] is None
        assert fullres(plans)["normalization_schemes"] == ["ZScoreNormalization"]
        found = planning.fingerprint()["foreground_intensity_properties_per_channel"]
        assert plans["foreground_intensity_properties_per_channel"] == found

    def test_of_ct_and_mri_have_windows_for_the_ct(self, planning: Planning) -> None:
        planning.write(channel_names=["T1", "CT"])
        plans = planning.plan()
        mri, ct = arch_kwargs(plans)["windows"]
        assert mri is None
        assert ct["windows_hu"] == [list(WINDOWS_HU[name]) for name in preset("default")["window_names"]]
        properties = plans["foreground_intensity_properties_per_channel"]
        found = planning.fingerprint()["foreground_intensity_properties_per_channel"]
        assert properties["0"] == found["0"]
        assert (properties["1"]["percentile_00_5"], properties["1"]["percentile_99_5"]) == (-1024, 3071)
        assert (ct["mean"], ct["std"]) == (found["1"]["mean"], found["1"]["std"])
        network = network_from_plans(plans, channels=2)
        with torch.no_grad():
            assert network(torch.zeros(1, 2, 24, 24, 24)).shape == (1, 3, 24, 24, 24)


def test_sizes_are_as_documented() -> None:
    """In docs/reference/planning.md: memory target, width, depth, blocks a step and crop; heads have 32 dimensions."""
    sizes = [(size.at_least_gb, size.embed_dim, size.depth, size.blocks, size.crop_voxels) for size in SIZES]
    assert sizes == [
        (16, 384, 8, 1024, 128 * 128 * 128),
        (6, 256, 6, 512, 112 * 112 * 112),
        (2, 192, 4, 256, 96 * 96 * 96),
        (0, 128, 3, 96, 48 * 48 * 48),
    ]
    assert [size.embed_dim / size.num_heads for size in SIZES] == [32] * 4


class TestPresets:
    def test_paper_is_the_papers_network(self, ct: Planning) -> None:
        plans = ct.plan(preset="paper")
        kwargs = arch_kwargs(plans)
        assert fullres(plans)["cfseg"]["preset"] == "paper"
        assert kwargs["norm"] == "post"
        assert kwargs["activation"] == "relu"
        assert kwargs["position"] == "sine"
        assert kwargs["decoder"] == "linear"
        assert kwargs["center_patches"] == 1
        assert kwargs["windows"] is None
        # Without windows nnU-Net's clip range is what tells soft tissues apart.
        found = ct.fingerprint()["foreground_intensity_properties_per_channel"]
        assert plans["foreground_intensity_properties_per_channel"] == found

    def test_karimi_is_the_network_of_karimi_et_al(self, ct: Planning) -> None:
        kwargs = arch_kwargs(ct.plan(preset="karimi", gpu_memory_target_gb=8))
        assert np.prod(kwargs["patch_size"]) == 8**3
        assert kwargs["block_patches"] == 3  # W 24
        assert (kwargs["embed_dim"], kwargs["depth"], kwargs["num_heads"]) == (1024, 7, 4)
        assert kwargs["position"] == "learned"
        assert kwargs["decoder"] == "linear"

    def test_must_be_known(self, ct: Planning) -> None:
        with pytest.raises(ValueError, match=f"^the preset must be one of {', '.join(PRESETS)}, got 'papr'$"):
            ct.plan(preset="papr")
        assert ct.written() == []


class TestRefusals:
    @pytest.mark.parametrize("configuration", ["2d", "3d_cascade_fullres", "3d_fulres"])
    def test_of_a_configuration_that_does_not_exist_here(self, ct: Planning, configuration: str) -> None:
        with pytest.raises(
            ValueError, match=f"preprocesses 3d_fullres and 3d_lowres, got '{configuration}'; for 2d.* use"
        ):
            ct.plan(configurations=["3d_fullres", configuration])
        assert ct.written() == []

    def test_of_single_slices(self, planning: Planning) -> None:
        planning.write(shape=(1, 48, 48))
        with pytest.raises(ValueError, match=f"the scans of {NAME} are single slices"):
            planning.plan()

    def test_of_single_slices_leaves_no_plans(self, planning: Planning) -> None:
        planning.write(shape=(1, 48, 48))
        with pytest.raises(ValueError, match="single slices"):
            planning.plan()
        assert not (planning.preprocessed / f"{PLANS_NAME}.json").exists()

    @pytest.mark.parametrize("preset", ["default", "karimi"])
    def test_of_a_memory_target_that_no_network_fits(self, ct: Planning, preset: str) -> None:
        with pytest.raises(
            ValueError, match=f"no network of the preset '{preset}' trains within a memory target of 0.001 GB"
        ):
            ct.plan(preset=preset, gpu_memory_target_gb=0.001)
        assert not (ct.preprocessed / f"{PLANS_NAME}.json").exists()

    def test_of_an_image_that_is_not_in_hounsfield_units(self, planning: Planning) -> None:
        planning.write(channel_names=["T1"])
        file = planning.folders.raw / NAME / "dataset.json"
        file.write_text(file.read_text().replace("T1", "CT"))
        with pytest.raises(ValueError, match=r"Hounsfield units .*imagesTr"):
            planning.plan()
        assert planning.written() == []

    def test_of_a_label_outside_those_of_the_dataset(self, planning: Planning) -> None:
        planning.write(labels={"background": 0, "bright": 1})
        with pytest.raises(ValueError, match=r"must be those of dataset.json \[0, 1\], got also \[2\]: .*labelsTr"):
            planning.plan()
        assert planning.written() == []

    def test_of_a_dataset_that_is_not_there(self, ct: Planning) -> None:
        with pytest.raises(
            ValueError,
            match=r"-d must be the id or the name of one dataset in nnUNet_raw .*, got '902', and there is no",
        ):
            plan_and_preprocess([902], progress=False)

    def test_of_a_dataset_without_dataset_json(self, ct: Planning) -> None:
        (ct.folders.raw / NAME / "dataset.json").unlink()
        with pytest.raises(ValueError, match=r"dataset\.json must be a file, and there is none: .*dataset\.json"):
            ct.plan()
        assert ct.written() == []

    def test_of_one_dataset_comes_before_work_on_another(self, ct: Planning) -> None:
        with pytest.raises(ValueError, match=r"got .902., and there is no such dataset"):
            plan_and_preprocess([901, 902], num_processes_fingerprint=1, progress=False)
        assert ct.written() == []
