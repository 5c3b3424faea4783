"""The audit as rows of text, for a terminal and for the report's page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selfmoa.audit._key import folder
from selfmoa.audit._result import SCHEMA
from selfmoa.errors import UsageError
from selfmoa.run import read_json

__all__ = ["AGREEMENT_COLUMNS", "FIGURE_COLUMNS", "PEOPLE_COLUMNS", "read_audit", "report_rows"]

Rows = list[tuple[str, ...]]

FIGURE_COLUMNS = (
    "figure",
    "checkpoint",
    "labels",
    "by the judge [95 %]",
    "corrected [95 %]",
    "verdict, or band",
    "judge",
)
AGREEMENT_COLUMNS = (
    "judge", "says", "checkpoint", "n (yes)", "kappa", "accuracy", "sensitivity", "specificity",
)  # fmt: skip
PEOPLE_COLUMNS = ("question", "annotators", "n", "measure", "value")
_MISSING = "-"


def read_audit(run: Path) -> dict[str, Any] | None:
    """RUN/audit/audit.json, None where there is none. Raises `UsageError` for another schema."""
    found: dict[str, Any] | None = read_json(folder(run) / "audit.json")
    if found is not None and found.get("schema") != SCHEMA:
        raise UsageError(f"audit.json has schema {found.get('schema')!r}, expected {SCHEMA}; run the audit again.")
    return found


def report_rows(audit: Mapping[str, Any]) -> dict[str, Rows]:
    """`figures`, `judges` and `people` of audit.json as rows of plain text under the columns of this module.

    A figure that is not corrected says so in the cell of the corrected one.
    """
    return {
        "figures": [row for figure in audit["figures"] for row in _figure(figure)],
        "judges": [_judge(row) for row in audit["judges"]],
        "people": [_people(row) for row in audit["people"]],
    }


def _figure(figure: Mapping[str, Any]) -> Rows:
    rows: Rows = []
    for name, side in figure["sides"].items():
        change = name == "change"
        corrected = side["corrected"]
        band = side["band"]
        if corrected is not None:
            last = str(figure["verdict"]) if change else ""
        elif band is not None:
            low, high = (_number(band[end], figure["unit"], signed=change) for end in ("low", "high"))
            last = f"{low} to {high}"
        else:
            last = _MISSING
        rows.append(
            (
                f"{figure['label']} ({figure['set']})" if not rows else "",
                name,
                str(side["labels"]),
                _estimate(side["uncorrected"], figure["unit"], signed=change),
                _estimate(corrected, figure["unit"], signed=change) if corrected else "not corrected",
                last,
                figure["judge"] if not rows else "",
            )
        )
    return rows


def _judge(row: Mapping[str, Any]) -> tuple[str, ...]:
    found = row["agreement"]
    shown = [_estimate(found["kappa"], "score")]
    shown += [_estimate(found[name], "share") for name in ("accuracy", "sensitivity", "specificity")]
    return (row["judge"], row["event"], row["arm"], f"{found['n']} ({found['positives']})", *shown)


def _people(row: Mapping[str, Any]) -> tuple[str, ...]:
    value = row["value"]
    shown = _MISSING if _unknown(value) else f"{value:.2f}"
    return (row["question"], ", ".join(row["annotators"]), str(row["n"]), row["measure"], shown)


def _estimate(estimate: Mapping[str, Any], unit: str, *, signed: bool = False) -> str:
    if _unknown(estimate["value"]):
        return _MISSING
    value, low, high = (_number(estimate[key], unit, signed=signed) for key in ("value", "low", "high"))
    end = " points" if signed and unit == "share" else " %" if unit == "share" else ""
    return f"{value}{end} [{low}, {high}]" if not _unknown(estimate["low"]) else f"{value}{end}"


def _number(value: float | None, unit: str, *, signed: bool) -> str:
    if value is None or math.isnan(value):
        return _MISSING
    scaled, digits = (100 * value, 0) if unit == "share" else (value, 2)
    rounded = round(scaled, digits) + 0.0  # no "-0"
    return f"{rounded:+.{digits}f}" if signed else f"{rounded:.{digits}f}"


def _unknown(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
