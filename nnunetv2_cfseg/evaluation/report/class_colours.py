"""Colours that people tell apart, with defective colour vision too, on a dark scan as on a page."""

from __future__ import annotations

from math import cos, sin

#: Okabe and Ito 2008, without black; the darkest come last.
OKABE_ITO = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#cc79a7", "#d55e00", "#0072b2")
GOLDEN_ANGLE = 2.399963
LIGHTNESS = (0.82, 0.62, 0.72)
CHROMA = 0.13


def class_colours(count: int) -> tuple[str, ...]:
    """Colours ("#rrggbb") of ``count`` classes: Okabe and Ito's seven, then as many as are needed.

    The further ones go round the hues of OKLCH (Ottosson 2020) by the golden angle, and neighbours differ in
    lightness too. Nobody can tell sixty colours apart: the legend and the names under the cursor remain.
    """
    extra = [
        _oklch(LIGHTNESS[i % len(LIGHTNESS)], CHROMA, 0.6 + i * GOLDEN_ANGLE) for i in range(count - len(OKABE_ITO))
    ]
    return (*OKABE_ITO, *extra)[:count]


def _oklch(lightness: float, chroma: float, hue: float) -> str:
    a, b = chroma * cos(hue), chroma * sin(hue)
    cone_l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    cone_m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    cone_s = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    red = 4.0767416621 * cone_l - 3.3077115913 * cone_m + 0.2309699292 * cone_s
    green = -1.2684380046 * cone_l + 2.6097574011 * cone_m - 0.3413193965 * cone_s
    blue = -0.0041960863 * cone_l - 0.7034186147 * cone_m + 1.7076147010 * cone_s
    return "#" + "".join(f"{_srgb_byte(linear):02x}" for linear in (red, green, blue))


def _srgb_byte(linear: float) -> int:
    linear = min(max(linear, 0.0), 1.0)
    encoded = 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055
    return round(255 * encoded)
