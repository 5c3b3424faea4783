"""The self-contained HTML page of runs pooled over seeds; no prompt is on it."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from selfmoa.bench import counted_on, missed
from selfmoa.compare import PooledFigure, PooledRuns
from selfmoa.report._page import write_page
from selfmoa.report._results import tone
from selfmoa.report._text import change, integer, points

__all__ = ["write_pooled"]

Row = dict[str, Any]


def write_pooled(found: PooledRuns, path: Path) -> Path:
    """Write the page. Raises `StorageError` where it cannot."""
    told = {
        "names": list(found.names),
        "tolerance": f"{100 * found.tolerance:g} points",
        "rows": [_row(figure) for figure in found.figures],
    }
    write_page(path, "pooled.html.j2", told)
    return path


def _row(figure: PooledFigure) -> Row:
    pooled = asdict(figure.pooled)
    spread = figure.pooled.seed_sd
    return {
        "label": figure.label,
        "on": counted_on(figure.set),
        "better": "" if figure.direction == "none" else figure.direction,
        "judge": figure.judge or "–",
        "change": change(pooled, figure.unit),
        "runs": integer(figure.pooled.runs),
        "seed_sd": "–" if math.isnan(spread) else points(spread, figure.unit).lstrip("+"),
        "verdict": "" if figure.verdict == "none" else figure.verdict,
        "tone": tone(figure.verdict),
        "missed": missed(figure.pooled.low, figure.pooled.high, figure.pooled.detectable, figure.unit),
        "cells": [{"change": change(asdict(one), figure.unit), "n": integer(one.n)} for one in figure.changes],
    }
