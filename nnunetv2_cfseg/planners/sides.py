"""Which labels are named after a side of the patient.

A network that has to tell left from right cannot learn it from mirrored scans. A side that is overlooked gives wrong
labels, a name that is wrongly taken for one costs some augmentation: so a whole word is enough, whatever else the name
says. Short words that mean other things as well need their opposite: ``Niere_re`` or ``rein_d`` count where
``Niere_li`` or ``rein_g`` is another label.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator

#: Whole words in English, German, French, Italian, Spanish, Latin, Dutch and Portuguese, and their abbreviations.
SIDES = re.compile(
    r"""
    left | right | l | r | lt | rt | lft | rgt | lhs | rhs | lh | rh | lefts? | rights?
    | links\w* | rechts\w* | linke[rsnm]? | rechte[rsnm]? | lks | linker | rechter
    | gauches? | droite?s? | gch | gche
    | sinistr[aoei] | destr[aoei] | sx | dx | sin | dex | dext
    | izquierd[ao]s? | derech[ao]s? | izq | izqd[ao] | izda | izdo | dcha | dcho
    | sinister | sinistr(um|i|ae|am|is|orum|arum|os|as) | dexter | dextr([aoi]|um|ae|am|is|orum|arum|os|as)
    | esquerd[ao]s? | direit[ao]s? | esq
    """,
    re.VERBOSE,
)
#: At the end of a name these are sides; elsewhere they need their opposite (``re-entry``, ``der Kopf``).
AT_THE_END = {"li", "re", "der"}
#: What may be exchanged for what: a name that becomes another label's by it names a side.
OPPOSITES = (
    ("left", "right"), ("links", "rechts"), ("linke", "rechte"), ("gauche", "droite"), ("gauche", "droit"),
    ("sinistra", "destra"), ("sinistro", "destro"), ("izquierda", "derecha"), ("izquierdo", "derecho"),
    ("sinister", "dexter"), ("sinistra", "dextra"), ("sinistrum", "dextrum"),
)  # fmt: skip
#: The same for whole words.
OPPOSITE_WORDS = (("li", "re"), ("g", "d"), ("s", "d"), ("sn", "dx"), ("iz", "de"), ("izq", "der"), ("l", "r"))
#: Written without spaces, one character is a word.
CHARACTERS = "左右"


def sided_names(names: Collection[str]) -> list[str]:
    """Those of the names that name a side, in their order.

    Args:
        names: of all labels of a dataset, such as ``kidney_left``, ``LeftKidney``, ``Niere re`` or ``ParotidR``.
    """
    words = {name: _words(name) for name in names}
    joined = {"".join(found) for found in words.values()}
    together = {tuple(found) for found in words.values()}
    return [
        name
        for name, found in words.items()
        if _has_side(found)
        or any(character in name for character in CHARACTERS)
        or any(other in joined for other in _exchanged("".join(found)))
        or any(other in together for other in _exchanged_words(found))
    ]


def describe_sides(names: Collection[str], *, most: int = 6) -> str:
    """What a user should know of it when a training is planned."""
    sided = sided_names(names)
    if not sided:
        return "no label is named after a side (left, right, ...), so training may mirror left and right"
    listed = ", ".join(sided[:most]) + (f" and {len(sided) - most} more" if len(sided) > most else "")
    return f"training mirrors nothing, as these labels are named after a side: {listed}"


def _words(name: str) -> list[str]:
    """Lower case, without accents; capitals within a word begin one (``LeftKidney``, ``LKidney``, ``ParotidR``)."""
    split = re.sub(r"(?<=[^\W\d_A-Z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    plain = unicodedata.normalize("NFKD", split).encode("ascii", "ignore").decode().lower()
    return [word for word in re.split(r"[^a-z0-9]+", plain) if word]


def _has_side(words: list[str]) -> bool:
    for word, following in zip(words, [*words[1:], ""], strict=False):
        letters = word.rstrip("0123456789") if len(word) > 3 else word  # left2, but not the vertebra L2
        is_vertebra = len(letters) == 1 and following.isdigit()
        if SIDES.fullmatch(letters) and not is_vertebra:
            return True
    return len(words) > 1 and words[-1] in AT_THE_END


def _exchanged(name: str) -> Iterator[str]:
    """The name with one side for the other, wherever it stands; a single letter at its beginning or end."""
    for pair in OPPOSITES:
        for one, other in (pair, pair[::-1]):
            if one in name:
                yield name.replace(one, other)
    for one, other in ("lr", "rl"):
        if len(name) > 3 and name.startswith(one):
            yield other + name[1:]
        if len(name) > 3 and name.endswith(one):
            yield name[:-1] + other


def _exchanged_words(words: list[str]) -> Iterator[tuple[str, ...]]:
    for pair in OPPOSITE_WORDS:
        for one, other in (pair, pair[::-1]):
            for index, word in enumerate(words):
                if word == one and len(words) > 1:
                    yield (*words[:index], other, *words[index + 1 :])
