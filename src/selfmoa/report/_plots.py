"""The page's figures: paired changes, the loop by round, training by step, training against watch judges."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from selfmoa.report._svg import INK, colour, draw, style_axes
from selfmoa.report._text import number, visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["forest", "judge_gap", "rounds", "training"]

Row = dict[str, Any]
Series = tuple[str, str, str]
"""Metric key, words for the legend, colour name."""


def forest(rows: list[Row], tolerance: float | None) -> Markup | None:
    """Paired changes with intervals, turned so that right of the line is always better.

    rows: those of `metric_rows`; `tolerance`, in [0, 1], is drawn as the line a loss may not cross.
    """
    drawn = [row for row in rows if row["better"] and _turned(row) is not None]
    if not drawn:
        return None

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        style_axes(axes)
        axes.grid(False)
        reach = 1.12 * max(max(abs(edge) for edge in _turned(row) or (0.0,)) for row in drawn)
        reach = max(reach, 10.0, 140 * (tolerance or 0.0))
        axes.axvspan(-reach, 0, color=colour("wash"), linewidth=0)
        axes.axvline(0, color=colour("muted"), linewidth=1)
        if tolerance:
            axes.axvline(-100 * tolerance, color=colour("bad"), linewidth=1, linestyle=(0, (4, 4)))
            _note(axes, -100 * tolerance, "tolerance", colour("bad"))
        for place, row in enumerate(reversed(drawn)):
            _interval(axes, place, row)
        _forest_axes(axes, drawn, reach)

    text = "; ".join(f"{row['label']}: {row['change']}, {row['verdict'] or 'no verdict'}" for row in drawn)
    return draw(
        "forest",
        paint,
        title="Paired change of every figure with its 95 % interval",
        text=text,
        height=92 + 38 * len(drawn),
    )


def _turned(row: Row) -> tuple[float, float, float] | None:
    """(value, low, high) in points, larger = better."""
    interval = row["interval"]
    value = number(interval.get("value"))
    if value is None:
        return None
    low, high = number(interval.get("low")), number(interval.get("high"))
    edges = [100 * value, 100 * (value if low is None else low), 100 * (value if high is None else high)]
    if row["better"] == "lower":
        return -edges[0], -edges[2], -edges[1]
    return edges[0], edges[1], edges[2]


def _interval(axes: Axes, place: int, row: Row) -> None:
    value, low, high = _turned(row) or (0.0, 0.0, 0.0)
    tint = colour(row["tone"])
    axes.plot([low, high], [place, place], color=tint, linewidth=2.4, solid_capstyle="round")
    axes.plot([value], [place], marker="o", markersize=8.5, color=tint, markeredgecolor=colour("page"))
    words = axes.text(1.02, place, visible(row["change"]), transform=axes.get_yaxis_transform(), va="center")
    words.set_color(INK)


def _forest_axes(axes: Axes, rows: list[Row], reach: float) -> None:
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    names = [f"{row['label']}, {row['better']} is better" for row in reversed(rows)]
    axes.set_yticks(range(len(rows)), [visible(name) for name in names])
    for label in axes.get_yticklabels():
        label.set_color(INK)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:+.0f}".replace("-", "−") if round(x) else "0")
    axes.set_xlabel("points of 100", color=colour("muted"), labelpad=8)
    for x, words, side in ((0.0, "← worse", "left"), (1.0, "better →", "right")):
        axes.annotate(
            words, (x, 0), (0, -26), xycoords="axes fraction", textcoords="offset points", ha=side, va="top",
            color=colour("muted"),
        )  # fmt: skip


def _note(axes: Axes, x: float, words: str, tint: str) -> None:
    axes.text(x, 1.01, words, transform=axes.get_xaxis_transform(), ha="center", va="bottom", color=tint, size=11)


# -- the loop --------------------------------------------------------------------------------------------


def rounds(rows: list[Row]) -> Markup | None:
    """Attack success with its interval, pool size and attackers' refusals, by round."""
    done = [row for row in rows if row["finished"]]
    if not done:
        return None
    numbers = [row["number"] for row in done]

    def paint(figure: Figure) -> None:
        success, pool, refusals = figure.subplots(1, 3)
        style_axes(success, "Attack prompts that got through, %")
        _success(success, done)
        style_axes(pool, "Attack prompts in the pool")
        _line(pool, numbers, [row["series"]["pool"] for row in done], "blue")
        style_axes(refusals, "Attackers that declined, %")
        for key, tint in (("expander", "blue"), ("hider", "orange")):
            _line(refusals, numbers, [_percent(row["series"][key]) for row in done], tint, key)
        _legend(refusals)
        for axes in (pool, refusals):
            top = 1.15 * axes.dataLim.ymax
            axes.set_ylim(0, max(1.0, top) if math.isfinite(top) else 1.0)
        for axes in (success, pool, refusals):
            axes.set_xticks(numbers if len(numbers) <= 10 else numbers[:: len(numbers) // 8])
            axes.set_xlim(numbers[0] - 0.5, numbers[-1] + 0.5)
            axes.set_xlabel("round", color=colour("muted"))

    text = "; ".join(f"round {row['number']}: attack success {row['success']}, pool {row['pool']}" for row in done)
    return draw("rounds", paint, title="The loop by round", text=text, height=300)


def _success(axes: Axes, rows: list[Row]) -> None:
    for row in rows:
        told = row["series"]["success"]
        value, low, high = (_percent(told.get(key)) for key in ("value", "low", "high"))
        if value is None:
            continue
        if low is not None and high is not None:
            axes.plot([row["number"]] * 2, [low, high], color=colour("orange"), linewidth=2.2)
    _line(
        axes,
        [row["number"] for row in rows],
        [_percent(row["series"]["success"].get("value")) for row in rows],
    )
    axes.set_ylim(0, 100)


def _percent(value: Any) -> float | None:
    found = number(value)
    return None if found is None else 100 * found


def _line(axes: Axes, x: list[int], y: list[float | None], tint: str = "orange", label: str = "") -> None:
    known = [(a, b) for a, b in zip(x, y, strict=True) if b is not None]
    if known:
        axes.plot(
            *zip(*known, strict=True),
            marker="o",
            markersize=7,
            color=colour(tint),
            linewidth=1.8,
            label=label,
        )


def _legend(axes: Axes) -> None:
    """A legend between the title and the axes, clear of the data; none where nothing is drawn."""
    if not axes.get_legend_handles_labels()[1]:
        return
    axes.legend(
        frameon=False, labelcolor=colour("muted"), fontsize=11.5, loc="lower left", ncols=3, borderpad=0,
        bbox_to_anchor=(0, 1.02), borderaxespad=0.4, handlelength=1.2, handletextpad=0.5, columnspacing=1.2,
    )  # fmt: skip


# -- training --------------------------------------------------------------------------------------------

_PANELS: tuple[tuple[str, tuple[Series, ...]], ...] = (
    ("True reward, nats", (("reward_chosen", "chosen", "blue"), ("reward_rejected", "rejected", "orange"))),
    ("Log-prob of the chosen answer, nats", (("chosen_logprob", "trained on", "blue"),)),
    ("Margin accuracy (pairs ordered rightly), %", (("reward_accuracy", "trained on", "blue"),)),
)


def training(stages: list[Row]) -> Markup | None:
    """True rewards, chosen log-prob and margin accuracy over all stages, one after the other."""
    if not any(stage["train"] or stage["validation"] for stage in stages):
        return None

    def paint(figure: Figure) -> None:
        panels = figure.subplots(1, len(_PANELS))
        for axes, (title, series) in zip(panels, _PANELS, strict=True):
            style_axes(axes, title)
            _panel(axes, stages, series)
            axes.set_xlabel("optimiser step (all stages)", color=colour("muted"))

    return draw("training", paint, title="Training curves", text=_told(stages), height=310)


def _panel(axes: Axes, stages: list[Row], series: tuple[Series, ...]) -> None:
    offset = 0
    for stage in stages:
        for key, words, tint in series:
            scale = 100 if key == "reward_accuracy" else 1
            for split, look in (
                ("train", {"linewidth": 1.6}),
                ("validation", {"linewidth": 0, "marker": "D"}),
            ):
                rows = [row for row in stage[split] if number(row.get(key)) is not None]
                x, y = [offset + row["step"] for row in rows], [scale * row[key] for row in rows]
                label = "" if offset or not rows else words if split == "train" else "held out"
                label = "" if label == "held out" and key != series[-1][0] else label
                axes.plot(x, y, color=colour(tint), markersize=5.5, label=label, **look)
        last = max((row["step"] for row in [*stage["train"], *stage["validation"]]), default=0)
        if offset:
            axes.axvline(offset, color=colour("muted"), linewidth=0.8, linestyle=(0, (2, 3)))
        where = axes.get_xaxis_transform()
        name = f"stage {stage['stage']}" if len(stages) <= 4 else str(stage["stage"])
        axes.text(offset + last / 2, 0.015, name, transform=where, ha="center", color=colour("muted"), size=11)
        offset += last
    axes.margins(y=0.16)
    if series[0][0] == "reward_accuracy":
        axes.set_ylim(0, 104)
        axes.set_yticks([0, 25, 50, 75, 100])
    _legend(axes)


def _told(stages: list[Row]) -> str:
    parts = []
    for stage in stages:
        last = (stage["validation"] or stage["train"] or [{}])[-1]
        accuracy = number(last.get("reward_accuracy"))
        parts.append(
            f"stage {stage['stage']} ends at step {last.get('step')} with margin accuracy "
            + ("unknown" if accuracy is None else f"{100 * accuracy:.0f} %")
        )
    return "; ".join(parts)


# -- training judges against watch judges ----------------------------------------------------------------


def judge_gap(stages: list[Row]) -> Markup | None:
    """Change of safety on harmful development prompts since the start, as training and watch judges see it."""
    done = [row for row in stages if None not in row["series"].values()]
    if not done:
        return None
    numbers = [0, *(row["number"] for row in done)]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        style_axes(axes, "Change of safety on harmful development prompts, points of 100")
        axes.axhline(0, color=colour("muted"), linewidth=1)
        for key, tint in (("training", "orange"), ("watch", "blue")):
            _line(axes, numbers, [0.0, *(_percent(row["series"][key]) for row in done)], tint, f"{key} judges")
        axes.set_xticks(numbers, ["start", *(str(number_) for number_ in numbers[1:])])
        axes.set_xlabel("stage", color=colour("muted"))
        axes.margins(y=0.2)
        _legend(axes)

    text = "; ".join(
        f"stage {row['number']}: training judges {100 * row['series']['training']:+.0f}, "
        f"watch judges {100 * row['series']['watch']:+.0f}"
        for row in done
    )
    return draw("gap", paint, title="Do the training judges see more than the watch judges?", text=text, height=260)
