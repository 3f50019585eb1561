"""Class colours that people can tell apart, on dark scans and on pages."""

from __future__ import annotations

from itertools import cycle, islice

#: Okabe and Ito 2008, without black: distinguishable with defective colour vision too. The darkest come last.
OKABE_ITO = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#cc79a7", "#d55e00", "#0072b2")
#: These, then each as far as possible from all before it, chosen by experiments/class_colours.py. Any two of the first
#: 20 are 20 or more apart in CIEDE2000, any two of 61 are 11 or more, and neighbours among these 17 or more.
_CHOSEN = """
    #e69f00 #56b4e9 #009e73 #f0e442 #cc79a7 #d55e00 #0072b2 #8400e4 #606000 #b4003c #60fcf0 #18fc60
    #d8ccfc #fcb49c #849c0c #006c6c #9078fc #785478 #fc4854 #b4cc9c #84543c #006c30 #9c8454 #f000fc
    #54b4b4 #cc0090 #c01800 #fcb4cc #5454a8 #f0d8a8 #0cb430 #e490fc #6c8454 #b4786c #906000 #00d89c
    #8478a8 #9cd80c #84e4fc #3090a8 #90a8fc #fc9048 #fc0078 #9c54b4 #a8546c #c0b460 #f08490 #fc1800
    #2490fc #3c8400 #c07800 #b49ccc #0c60fc #a89000 #d8a878 #a8f0cc #d8f090 #78a86c #fc846c #fc24b4
    #3c7860 #6078b4 #fccc60 #b45448 #186c84 #a84800 #9c48fc #84c0a8 #a86c3c #844848 #9c189c #9c9c6c
    #b478cc #84cc6c #9c6c90 #847818 #fcc0fc #489084 #303cf0 #b49cfc #e40030 #cc606c #546c30 #fc90cc
    #9cccfc #a82460 #8490c0 #90fca8 #d86c48 #00c0a8 #fc609c #c000d8 #fc60e4 #309048 #c0c000 #c08460
    #3cd800 #846c3c #fccca8 #00d8e4 #b47884 #d8b400 #a8fc60 #9c4884 #9cb460 #48fccc #d82454 #6c6090
    #c054a8 #7860cc #c09c54 #f0a8a8 #54b4cc #3c6090 #609c30 #784890 #f0e490 #6084fc #24b46c #6c840c
    #844860 #fcb460 #cc4884 #00d86c #c060fc #0090cc #cc4818 #785424 #fc6c24 #b4c0f0 #e47800 #6cb400
    #78d8cc #0cccfc #d89084 #d8a8cc #9c3c30 #9c6060 #848448 #786000 #c0f0b4 #d8903c #ccf000 #0078f0
    #9c7818 #fc5478 #54a890 #c0cc60 #84d89c #ccb484 #306c00 #d890a8 #60906c #9cf0f0 #008484 #783cb4
    #cccc90 #e49c78 #9078cc #d8b4fc #6ca8f0 #6c6c3c #487848 #c00024 #cc90cc #6054fc #b48448 #fc543c
    #fc9000 #9cb418 #d86c60 #0054cc #a884b4 #b4603c #009c9c #008454 #c0900c #b46000 #c084fc #9090f0
    #60c090 #9c6c54 #9c9c48 #609cc0 #d8006c #00e4cc #009c24 #fcb484 #d818c0 #d8e4b4 #00fca8 #905424
    #9c3c18 #d86cc0 #606cfc #849c54 #d8b460 #187884 #b4a818 #a8a8d8 #9c7854 #b4906c #b44854 #e4cc54
    #fc0054 #186084 #c054cc #d86084 #b4d884 #6c90c0 #d8783c #78ccd8 #fc9cf0 #90c090 #6cd8b4 #84ccf0
    #fccc90 #fc6cc0 #9c6ca8 #9c90cc #fccc00 #9c60d8 #a8b484 #6cb454 #3c6cc0 #a81878 #b430a8 #fc84a8
    #84e460 #6c7830 #5460cc #6c6ca8 #54fc00 #546c00 #54843c #9c3c54 #00786c #b46090 #fc8454 #cc7878
    #84609c #909000 #4884a8 #d8483c #7878d8 #fc9c90 #006c54 #f00090 #f0b400 #903cd8 #c03cf0 #6048cc
    #e460fc #905448 #cc486c
"""
COLOURS = tuple(_CHOSEN.split())
#: Light and dark background of the page (page.css), and WCAG's least contrast of graphics on them.
LIGHT_PAGE, DARK_PAGE = "#ffffff", "#11151a"
LEAST_CONTRAST = 3.0
STEPS = 50


def class_colours(count: int) -> tuple[str, ...]:
    """Colours ("#rrggbb") of ``count`` classes.

    Nobody can tell sixty colours apart, so legends number their classes, and names show under the cursor. Colours
    repeat after 255, the largest number of classes that the slice browser can show.
    """
    return tuple(islice(cycle(COLOURS), count))


def page_colours(colour: str) -> tuple[str, str]:
    """A class's colour for lines and dots on the light and on the dark page, with a contrast of 3 or more.

    The colour is mixed with black or white as far as needed.
    """
    return _mixed_until_seen(colour, "#000000", LIGHT_PAGE), _mixed_until_seen(colour, "#ffffff", DARK_PAGE)


def contrast(first: str, second: str) -> float:
    """WCAG 2.2's contrast of two colours, from 1 to 21."""
    low, high = sorted((_luminance(first), _luminance(second)))
    return (high + 0.05) / (low + 0.05)


def _mixed_until_seen(colour: str, with_: str, ground: str) -> str:
    shares = (step / STEPS for step in range(STEPS + 1))
    return next(mixed for share in shares if contrast(mixed := _mix(colour, with_, share), ground) >= LEAST_CONTRAST)


def _mix(colour: str, with_: str, share: float) -> str:
    pairs = zip(_bytes(colour), _bytes(with_), strict=True)
    return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in pairs)


def _luminance(colour: str) -> float:
    channels = [value / 255 for value in _bytes(colour)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _bytes(colour: str) -> tuple[int, int, int]:
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return red, green, blue
