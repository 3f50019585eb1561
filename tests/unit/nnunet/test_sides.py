"""Names of sides in the languages that datasets are labelled in, and names that only look like them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunetv2_cfseg.nnunet.sides import describe_sides, sided_names

#: Each names a side whatever the other labels are.
SIDED = [
    "kidney_left",
    "kidney_right",
    "left-kidney",
    "Right-Parotid",
    "left",
    "right",
    "Left",
    "RIGHT",
    "LEFT_LUNG",
    "LeftKidney",
    "RightKidney",
    "kidneyLeft",
    "ParotidL",
    "ParotidR",
    "LKidney",
    "RLung",
    "Parotid_L",
    "Parotid_R",
    "L_kidney",
    "R_kidney",
    "l-kidney",
    "lt_lung",
    "rt_lung",
    "Lung.Lt",
    "Lung.Rt",
    "rib_left_1",
    "rib_right_12",
    "rib_left1",
    "left2",
    "Left_Right",
    "lh_hippocampus",
    "rh_hippocampus",
    "ctx-lh-cuneus",
    "lhs",
    "rhs",
    "Niere_links",
    "Niere_rechts",
    "niere-links",
    "linke_Niere",
    "rechte_Niere",
    "linker_Vorhof",
    "rechter_Vorhof",
    "linkes_Auge",
    "rechtes_Auge",
    "Linksherz",
    "rechtsventrikulär",
    "Niere_re",
    "Niere_li",
    "Ohr.re",
    "Lunge_linksseitig",
    "Parotis_lks",
    "rein_gauche",
    "rein_droit",
    "poumon_gauche",
    "poumon_droite",
    "gauche",
    "droite",
    "Poumon-Gauche",
    "oreillette_droite",
    "rene_sinistro",
    "rene_destro",
    "polmone_sinistra",
    "polmone_destra",
    "rene_sx",
    "rene_dx",
    "rene_sin",
    "rene_dex",
    "Polmone-DX",
    "riñón_izquierdo",
    "riñón_derecho",
    "pulmón_izquierda",
    "pulmon_derecha",
    "riñon_izq",
    "pulmon_der",
    "riñón_dcha",
    "ren_sinister",
    "ren_dexter",
    "pulmo_sinister",
    "pulmo_dexter",
    "auris_sinistra",
    "auris_dextra",
    "atrium_sinistrum",
    "atrium_dextrum",
    "arteria_renalis_sinistra",
    "a_carotis_dextra",
    "vena_sinistrae",
    "lobus_dextri",
    "nier_links",
    "nier_rechts",
    "rim_esquerdo",
    "rim_direito",
    "pulmao_esq",
    "左腎",
    "右腎",
    "肺左",
]
SIDED += ["left kidney", "right kidney", "Niere, links", "Niere (rechts)", "rein gauche", "kidney [L]", "kidney / R"]

#: None names a side, however many of them are labels of one dataset.
UNSIDED = [
    "liver",
    "spleen",
    "lentiform",
    "brightness",
    "original",
    "dextrose",
    "copyright",
    "leftover",
    "re-entry",
    "upright",
    "cleft",
    "bright",
    "fright",
    "vertebra_L1",
    "vertebra_L2",
    "vertebrae_L5",
    "L1",
    "L5",
    "T12",
    "S1",
    "vertebra_L_1",
    "rectum",
    "rectus",
    "reticular",
    "lipoma",
    "lingula",
    "lingual",
    "linear",
    "link",
    "linkage",
    "sinus",
    "sinuses",
    "sinusitis",
    "sinoatrial",
    "destruction",
    "destroyed",
    "dexamethasone",
    "dextrocardia",
    "sinistrality",
    "gland",
    "gauge",
    "gaucher",
    "drop",
    "droplet",
    "deep",
    "dural",
    "dura",
    "gut",
    "rib",
    "ribs",
    "lung",
    "lobe",
    "larynx",
    "retina",
    "",
    "EDH",
    "ICH",
    "IVH",
    "SAH",
    "SDH",
    "tumour",
    "tumor",
    "core",
    "oedema",
    "whole_tumor",
    "enhancing",
    "lymph_node",
    "aorta",
    "vena_cava",
    "heart",
    "ventricle",
    "brainstem",
    "spinal_cord",
    "mandible",
    "background",
    "ignore",
    "rest",
    "relapse",
    "resection",
    "lesion",
    "lacunar",
    "line",
    "linings",
    "class_1",
    "class_2",
]

#: Short words that count where their opposite is a label.
PAIRS = [
    ("li_Niere", "re_Niere"),
    ("rein_g", "rein_d"),
    ("poumon g", "poumon d"),
    ("rene_s", "rene_d"),
    ("rene_sn", "rene_dx"),
    ("iz_pulmon", "de_pulmon"),
    ("kidneyleft", "kidneyright"),
    ("leftkidney", "rightkidney"),
    ("nierelinks", "niererechts"),
    ("reingauche", "reindroit"),
    ("poumongauche", "poumondroite"),
    ("lkidney", "rkidney"),
    ("kidneyl", "kidneyr"),
    ("renesinistro", "renedestro"),
    ("rinonizquierdo", "rinonderecho"),
    ("rib_L_1", "rib_R_1"),
    ("pulmosinister", "pulmodexter"),
    ("LLUNG", "RLUNG"),
    ("izq_pulmon", "der_pulmon"),
    ("leye", "reye"),
    ("earl", "earr"),
]

#: Labels that differ as sides do, and are too short to name one.
UNPAIRED = [
    ("lob", "rob"),
    ("til", "tir"),
    ("al", "ar"),
    ("g", "d"),
    ("li", "re"),
]


@pytest.mark.parametrize("name", SIDED)
def test_a_side_is_told_from_one_name(name: str) -> None:
    assert sided_names(["background", name, "liver"]) == [name]


@pytest.mark.parametrize("name", UNSIDED)
def test_no_side_is_seen_in(name: str) -> None:
    assert sided_names([name]) == []


def test_no_side_is_seen_in_all_of_them_together() -> None:
    assert sided_names(UNSIDED) == []


@pytest.mark.parametrize("pair", PAIRS)
def test_a_short_word_counts_with_its_opposite(pair: tuple[str, str]) -> None:
    assert sided_names(["background", *pair]) == list(pair)


@pytest.mark.parametrize("pair", UNPAIRED)
def test_labels_that_only_look_opposite_are_no_sides(pair: tuple[str, str]) -> None:
    assert sided_names(["background", *pair]) == []


def test_a_label_beside_a_side_is_none_itself() -> None:
    """``rein_g`` is the opposite of ``rein_d``; ``rein_x`` is not."""
    assert sided_names(["rein_g", "rein_d", "rein_x"]) == ["rein_g", "rein_d"]


@pytest.mark.parametrize("name", ["li_Niere", "rein_g", "rene_s", "lkidney", "kidneyr", "LLUNG", "re-entry"])
def test_and_not_without(name: str) -> None:
    assert sided_names(["background", name]) == []


def test_there_are_enough_names() -> None:
    assert len(SIDED) + len(PAIRS) >= 100
    assert len(UNSIDED) >= 80


@given(st.lists(st.text(), unique=True, max_size=8))
def test_any_names_do(names: list[str]) -> None:
    assert set(sided_names(names)) <= set(names)


@pytest.mark.parametrize(
    ("names", "sided"),
    [
        (["background", "kidney_left", "kidney_right"], True),
        (["background", "left kidney", "right kidney"], True),
        (["background", "Left-Parotid", "Right-Parotid"], True),
        (["background", "Parotid_L", "Parotid_R"], True),
        (["background", "lt_lung", "rt_lung"], True),
        (["background", "left", "right"], True),
        (["background", "rib_left_1", "rib_right_1"], True),
        (["background", "kidney_left", "liver"], True),
        (["background", "LeftKidney", "RightKidney"], True),
        (["background", "ParotidL", "ParotidR"], True),
        (["background", "liver", "spleen"], False),
        (["background", "vertebra_L1", "vertebra_L2"], False),
        (["background", "copyright", "leftover"], False),
        (["background"], False),
    ],
)
def test_of_a_datasets_labels(names: list[str], sided: bool) -> None:
    assert bool(sided_names(names)) is sided


def test_planning_says_which_labels_are_sided() -> None:
    assert describe_sides(["background", "rein_gauche", "liver"]).endswith("named after a side: rein_gauche")
    assert describe_sides([f"rib_left_{n}" for n in range(9)]).endswith("rib_left_5 and 3 more")
    assert describe_sides([f"rib_left_{n}" for n in range(6)]).endswith(", rib_left_5")
    assert "may mirror left and right" in describe_sides(["background", "liver"])
