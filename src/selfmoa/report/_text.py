"""Figures and hostile text as words that are safe to show."""

from __future__ import annotations

import math
from typing import Any, Literal

from selfmoa.display import visible

__all__ = [
    "Unit",
    "change",
    "count",
    "duration",
    "estimate",
    "integer",
    "number",
    "points",
    "share",
    "visible",
]

Unit = Literal["share", "score", "words"]
"""share: a rate in [0, 1], shown in per cent. score: a mean in [0, 1]. words: a mean count."""

_MISSING = "–"


def number(value: Any) -> float | None:
    """`value` as a finite float, None where it is absent, NaN, infinite or not a number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def share(value: Any, digits: int = 0) -> str:
    """A share in [0, 1] in per cent."""
    found = number(value)
    return _MISSING if found is None else f"{100 * found:.{digits}f} %"


def estimate(interval: Any, unit: Unit = "share") -> str:
    """`{value, low, high}` as '31 % [24, 39]', '0.61 [0.55, 0.66]' or '43.2 [40.1, 46.0]'."""
    value, low, high = _three(interval)
    if value is None:
        return _MISSING
    text = _plain(value, unit) + (" %" if unit == "share" else "")
    return text if low is None or high is None else f"{text} [{_plain(low, unit)}, {_plain(high, unit)}]"


def change(interval: Any, unit: Unit = "share") -> str:
    """A paired change as '−12 points [−20, −4]' (percentage points) or '+0.05 [−0.01, +0.11]'."""
    value, low, high = _three(interval)
    if value is None:
        return _MISSING
    text = points(value, unit) + (" points" if unit == "share" else "")
    return text if low is None or high is None else f"{text} [{points(low, unit)}, {points(high, unit)}]"


def points(value: float, unit: Unit = "share") -> str:
    """A signed difference with a true minus sign, also where it rounds to zero; no sign on zero itself."""
    text = _plain(value, unit)
    if value == 0:
        return text.lstrip("-")
    return ("" if text.startswith("-") else "+") + text.replace("-", "−")


def _plain(value: float, unit: Unit) -> str:
    if unit == "share":
        return f"{100 * value:.0f}"
    return f"{value:.2f}" if unit == "score" else f"{value:.1f}"


def _three(interval: Any) -> tuple[float | None, float | None, float | None]:
    if not isinstance(interval, dict):
        return number(interval), None, None
    return number(interval.get("value")), number(interval.get("low")), number(interval.get("high"))


def integer(value: Any) -> str:
    """A count with thin spaces between thousands."""
    found = number(value)
    return _MISSING if found is None else f"{found:,.0f}".replace(",", "\u202f")


def count(value: int, noun: str, plural: str = "") -> str:
    """'1 pair', '2 pairs'."""
    return f"{integer(value)} {noun if value == 1 else plural or noun + 's'}"


def duration(seconds: Any) -> str:
    """Seconds as '48 s', '12 min 5 s' or '2 h 10 min'."""
    found = number(seconds)
    if found is None:
        return _MISSING
    whole = round(found)
    if whole < 60:
        return f"{found:.1f} s" if found < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
