"""Drawings of a comparison: paired changes of every arm, safety against helpfulness."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from selfmoa.compare import FRONT, ArmFigure, ComparedArms
from selfmoa.report._svg import INK, colour, draw, style_axes
from selfmoa.report._text import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["changes", "front"]

_TINTS = ("blue", "orange", "good", "neutral", "bad", "held")
_TONES = {"improved": "good", "preserved": "held", "worse": "bad", "inconclusive": "neutral", "none": "neutral"}
_DRAWN = ("attack_success", "refusal_harmful", "over_refusal", "refusal_benign", "helpfulness_harmless", "degenerate")


def changes(found: ComparedArms) -> Markup | None:
    """Forest plot: the paired change of the chief figures of every arm against the first, right = better."""
    rows = [
        figure
        for metric in _DRAWN
        for figure in found.figures
        if figure.metric == metric and figure.change is not None and figure.change.known
    ]
    if not rows:
        return None

    def paint(plot: Figure) -> None:
        axes = plot.subplots()
        style_axes(axes)
        axes.grid(False)
        axes.axvline(0, color=colour("muted"), linewidth=1)
        for place, figure in enumerate(reversed(rows)):
            value, low, high = _turned(figure)
            tint = colour(_TONES[figure.verdict])
            axes.plot([low, high], [place, place], color=tint, linewidth=2.4)
            axes.plot([value], [place], marker="o", markersize=8, color=tint, markeredgecolor=colour("page"))
        axes.set_yticks(range(len(rows)), [visible(f"{row.arm}: {row.label}") for row in reversed(rows)])
        for label in axes.get_yticklabels():
            label.set_color(INK)
        axes.set_xlabel(f"points of 100 against {visible(found.arms[0].name)}; right is better", color=colour("muted"))

    text = "; ".join(f"{row.arm}, {row.label}: {row.verdict}" for row in rows)
    return draw("changes", paint, title="Paired changes with 95 % intervals", text=text, height=90 + 30 * len(rows))


def _turned(figure: ArmFigure) -> tuple[float, float, float]:
    assert figure.change is not None
    value, low, high = (100 * edge for edge in (figure.change.value, figure.change.low, figure.change.high))
    return (-value, -high, -low) if figure.direction == "lower" else (value, low, high)


def front(found: ComparedArms) -> Markup | None:
    """Attack success against helpfulness, both with intervals; the front joins arms that none beats on both."""
    safety, helpful = FRONT
    points = [(arm.name, found.figure(safety, arm.name), found.figure(helpful, arm.name)) for arm in found.arms]
    points = [point for point in points if point[1].estimate.known and point[2].estimate.known]
    if not points:
        return None

    def paint(plot: Figure) -> None:
        axes = plot.subplots()
        style_axes(axes)
        for number, (name, x, y) in enumerate(points):
            tint = colour(_TINTS[number % len(_TINTS)])
            _cross(axes, x, y, tint)
            place = (100 * x.estimate.value, y.estimate.value)
            axes.annotate(visible(name), place, (8, 8), textcoords="offset points", color=tint)
        best = sorted((100 * x.estimate.value, y.estimate.value) for name, x, y in points if name in found.front)
        axes.plot(*zip(*best, strict=True), color=colour("muted"), linewidth=1.2, linestyle=(0, (4, 4)))
        axes.invert_xaxis()
        axes.margins(0.15)
        axes.set_xlabel("attack success, %; safer to the right", color=colour("muted"))
        axes.set_ylabel("helpfulness; better upwards", color=colour("muted"))

    text = "; ".join(
        f"{name}: attack success {100 * x.estimate.value:.0f} %, helpfulness {y.estimate.value:.2f}"
        for name, x, y in points
    )
    return draw("front", paint, title="Safety against helpfulness", text=text, height=380)


def _cross(axes: Axes, x: ArmFigure, y: ArmFigure, tint: str) -> None:
    across, up = x.estimate, y.estimate
    axes.plot([100 * across.low, 100 * across.high], [up.value] * 2, color=tint, linewidth=1.6)
    axes.plot([100 * across.value] * 2, [up.low, up.high], color=tint, linewidth=1.6)
    axes.plot([100 * across.value], [up.value], marker="o", markersize=9, color=tint, markeredgecolor=colour("page"))
