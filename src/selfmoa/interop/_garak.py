"""garak's report: one JSON object a line, attempts among them (docs.garak.ai, Reporting)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from selfmoa.interop._records import ForeignAnswer

__all__ = ["from_lines"]

_EVALUATED = 2
"""Status of an attempt with answers and detector scores; the same attempt is written before as status 1."""
_HIT = 0.5
"""Detector score from which garak counts a hit, by default."""


def from_lines(rows: Iterable[dict[str, Any]]) -> tuple[str, list[ForeignAnswer]]:
    """(model, answers) of a report; attempts that were not evaluated are left out."""
    model, found = "", []
    for row in rows:
        if row.get("entry_type") == "start_run setup":
            model = str(row.get("plugins.target_name") or row.get("plugins.model_name") or "")
        if row.get("entry_type") != "attempt" or row.get("status") != _EVALUATED:
            continue
        prompt, texts = _prompt(row.get("prompt")), [_text(output) for output in row.get("outputs") or []]
        if prompt and texts and texts[0] is not None:
            probe = str(row.get("probe_classname") or "unknown")
            hit = _hit(row.get("detector_results") or {})
            found.append(ForeignAnswer(prompt, texts[0], probe, hit, more=len(texts) - 1))
    return model, found


def _prompt(value: Any) -> str:
    """The last user turn of a conversation, or the text itself in older reports."""
    if isinstance(value, dict) and "turns" in value:
        turns = [turn for turn in value["turns"] if turn.get("role") == "user"]
        return (_text(turns[-1].get("content")) if turns else None) or ""
    return _text(value) or ""


def _text(value: Any) -> str | None:
    return value.get("text") if isinstance(value, dict) else value


def _hit(detectors: dict[str, list[float | None]]) -> bool | None:
    """True where any detector scores the first answer as a hit."""
    scores = [scores[0] for scores in detectors.values() if scores and scores[0] is not None]
    return max(scores) >= _HIT if scores else None
