"""Matplotlib drawings as inline SVG that takes its colours and fonts from the page."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from selfmoa.report._text import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["INK", "colour", "draw", "style_axes"]

# Matplotlib draws with these stand-ins; the page's CSS variables (light and dark) take their place.
_COLOURS = {
    "#010101": "var(--ink)",
    "#010102": "var(--muted)",
    "#010103": "var(--line)",
    "#010104": "var(--blue)",
    "#010105": "var(--orange)",
    "#010106": "var(--good)",
    "#010107": "var(--bad)",
    "#010108": "var(--wash)",
    "#010109": "var(--page)",
    "#01010a": "var(--neutral)",
    "#01010b": "var(--held)",
}
_BY_NAME = {value[6:-1]: key for key, value in _COLOURS.items()}
INK = _BY_NAME["ink"]


def colour(name: str) -> str:
    """The stand-in that becomes the page's colour `name`."""
    return _BY_NAME[name]


def draw(
    key: str, paint: Callable[[Figure], None], *, title: str, text: str, width: int = 1000, height: int = 260
) -> Markup:
    """Paint a figure and give it as inline SVG with a title and a description for screen readers.

    `key` makes its ids unique on the page; `width` and `height` are in CSS pixels.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": key, "text.parse_math": False, "font.size": 12.5}
    buffer = io.StringIO()
    with rc_context(settings):
        figure = Figure(figsize=(width / 72, height / 72), dpi=72, layout="constrained")
        FigureCanvasSVG(figure)
        figure.patch.set_alpha(0)
        paint(figure)
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _inline(buffer.getvalue(), key, title, text)


def style_axes(axes: Axes, title: str = "") -> None:
    """Quiet axes in the page's colours: bottom line, hairline grid, room for a legend below the title."""
    axes.patch.set_alpha(0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(colour("line"))
    axes.tick_params(colors=colour("muted"), length=0, pad=6)
    axes.grid(axis="y", color=colour("line"), linewidth=0.8)
    axes.set_axisbelow(True)
    if title:
        axes.set_title(visible(title), loc="left", fontsize=13, color=INK, pad=32)


def _inline(svg: str, key: str, title: str, text: str) -> Markup:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    view = re.search(r'viewBox="([^"]+)"', svg)
    svg = svg[svg.index(">") + 1 :].rstrip().removesuffix("</svg>")
    svg = re.sub(r'\bid="', f'id="{key}-', svg)
    svg = re.sub(r'(?:xlink:)?href="#', f'href="#{key}-', svg)
    svg = svg.replace("url(#", f"url(#{key}-")
    svg = re.sub(r"font: (?:(bold|\d{3}) )?([\d.]+)px [^;\"]*", _font, svg)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = re.sub(r"#0101[0-9a-f]{2}\b", lambda found: _COLOURS.get(found.group(), "var(--ink)"), svg)
    head = (
        f'<svg class="plot" viewBox="{view.group(1) if view else "0 0 1000 260"}" role="img" '
        f'aria-labelledby="{key}-title {key}-desc">'
        f'<title id="{key}-title">{escape(visible(title))}</title>'
        f'<desc id="{key}-desc">{escape(visible(text))}</desc>'
    )
    return Markup(head + svg + "</svg>")  # nosec: the text parts were escaped by matplotlib and above


def _font(found: re.Match[str]) -> str:
    weight = f"font-weight: {found.group(1)}; " if found.group(1) else ""
    return f"{weight}font-size: {found.group(2)}px"
