"""Which labels are named after a side of the patient.

A network that has to tell left from right cannot learn it from mirrored scans. Overlooking a side gives wrong labels,
while mistaking a name for a side only costs some augmentation, so one whole word is enough, whatever else is in the
name. Short words with other meanings count only with their opposite: ``Niere_re`` or ``rein_d`` is a side if
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
#: Sides only at the end of a name; elsewhere they need their opposite (``re-entry``, ``der Kopf``).
AT_THE_END = {"li", "re", "der"}
#: Opposite word parts: a name that becomes another label's name when one replaces the other names a side.
OPPOSITES = (
    ("left", "right"), ("links", "rechts"), ("linke", "rechte"), ("gauche", "droite"), ("gauche", "droit"),
    ("sinistra", "destra"), ("sinistro", "destro"), ("izquierda", "derecha"), ("izquierdo", "derecho"),
    ("sinister", "dexter"), ("sinistra", "dextra"), ("sinistrum", "dextrum"),
)  # fmt: skip
#: Opposite whole words, used in the same way.
OPPOSITE_WORDS = (("li", "re"), ("g", "d"), ("s", "d"), ("sn", "dx"), ("iz", "de"), ("izq", "der"), ("l", "r"))
#: Sides in scripts without spaces, where one character is a word.
CHARACTERS = "左右"


def sided_names(names: Collection[str]) -> list[str]:
    """Return the names that name a side, in their order.

    Args:
        names: of all labels of a dataset, such as ``kidney_left``, ``LeftKidney``, ``Niere re`` or ``ParotidR``.
    """
    words_of = {name: _words(name) for name in names}
    joined_names = {"".join(words) for words in words_of.values()}
    split_names = {tuple(words) for words in words_of.values()}
    return [
        name
        for name, words in words_of.items()
        if _has_side(words)
        or any(character in name for character in CHARACTERS)
        or any(opposite in joined_names for opposite in _exchanged("".join(words)))
        or any(opposite in split_names for opposite in _exchanged_words(words))
    ]


def describe_sides(names: Collection[str], *, most: int = 6) -> str:
    """One sentence for the user: whether training mirrors left and right, and which labels (``most``) prevent it."""
    sided = sided_names(names)
    if not sided:
        return "no label is named after a side (left, right, ...), so training may mirror left and right"
    listed = ", ".join(sided[:most]) + (f" and {len(sided) - most} more" if len(sided) > most else "")
    return f"training mirrors nothing, as these labels are named after a side: {listed}"


def _words(name: str) -> list[str]:
    """Lower-case words without accents; a capital within a word starts a new one (``LeftKidney``, ``ParotidR``)."""
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
    """The name with a side replaced by its opposite: a word part anywhere, a single letter at the start or end."""
    for pair in OPPOSITES:
        for side, opposite in (pair, pair[::-1]):
            if side in name:
                yield name.replace(side, opposite)
    for side, opposite in ("lr", "rl"):
        if len(name) > 3 and name.startswith(side):
            yield opposite + name[1:]
        if len(name) > 3 and name.endswith(side):
            yield name[:-1] + opposite


def _exchanged_words(words: list[str]) -> Iterator[tuple[str, ...]]:
    for pair in OPPOSITE_WORDS:
        for side, opposite in (pair, pair[::-1]):
            for index, word in enumerate(words):
                if word == side and len(words) > 1:
                    yield (*words[:index], opposite, *words[index + 1 :])
