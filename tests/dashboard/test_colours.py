"""The colours of charts: told from the paper, in both schemes."""

import re

from tests.support.server import ROOT

STATIC = ROOT / "ingest/dashboard/static"
CHART_CONTRAST_MIN = 3.0


def test_colours_of_lines_are_told_from_the_paper() -> None:
    """In both schemes; marks and dashes tell those who see no colours."""
    texts = [
        path.read_text().split("@media (prefers-color-scheme: dark)")[:2]
        for path in (STATIC / "figures.css", ROOT / "ingest/web/common.css")
    ]
    light, dark = (
        dict(re.findall(r"--(c[0-5]|raised|paper): (#[0-9a-f]{6})", "".join(both)))
        for both in zip(*texts, strict=True)
    )
    for colours in (light, dark):
        for line in (f"c{n}" for n in range(6)):
            for behind in ("raised", "paper"):
                assert contrast(colours[line], colours[behind]) >= CHART_CONTRAST_MIN, line


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, as WCAG defines it."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    """Return how bright a colour is."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
