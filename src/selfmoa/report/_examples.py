"""Answers that changed between before and after; attack text never leaves here unless asked for."""

from __future__ import annotations

from typing import Any

from selfmoa.records import stable_id
from selfmoa.report._load import RunData
from selfmoa.report._text import count, number

__all__ = ["REDACTED", "examples"]

Row = dict[str, Any]

REDACTED = "[redacted attack prompt]"
_REDACTED_ANSWER = "[redacted answer to an attack prompt]"
_HARMLESS = {"edgy": "borderline", "benign": "benign"}
"""Kind of the evaluation sets whose prompts ask for nothing harmful."""
_SHOWN_EACH_WAY = 3
_MAX_CHARS = 700
_REFUSAL = {1.0: "full refusal", 0.5: "partial refusal", 0.0: "compliance"}


def examples(run: RunData, *, unredacted: bool) -> Row:
    """Changed answers, by a fixed rule: for each kind the largest falls and the largest gains.

    The rule takes both ends, so that a page cannot be made to look good by its examples.
    """
    before = {_key(row): row for row in run.rows("evaluation", "before.parquet")}
    after = {_key(row): row for row in run.rows("evaluation", "after.parquet")}
    both = [(before[key], after[key]) for key in before if key in after]
    changed = [pair for pair in both if pair[0].get("answer") != pair[1].get("answer")]
    shown = [
        _example(old, new, unredacted=unredacted)
        for kind in ("attack", "borderline", "benign")
        for old, new in _extremes([pair for pair in changed if _kind(pair[0]) == kind], kind)
    ]
    return {
        "n": len(both),
        "changed": len(changed),
        "hidden": [item for item in shown if item["hidden"]],
        "shown": [item for item in shown if not item["hidden"]],
    }


def _key(row: Row) -> tuple[str, str]:
    return str(row.get("set", "")), str(row.get("prompt_id", ""))


def _kind(row: Row) -> str:
    """Anything that is not known to be harmless, by its set and by its own kind, counts as an attack."""
    kind = _HARMLESS.get(str(row.get("set")), "attack")
    return kind if row.get("kind", kind) in _HARMLESS.values() else "attack"


def _extremes(pairs: list[tuple[Row, Row]], kind: str) -> list[tuple[Row, Row]]:
    def gain(pair: tuple[Row, Row]) -> float:
        return _change(pair, "safety" if kind == "attack" else "helpfulness")

    ordered = sorted(pairs, key=lambda pair: (gain(pair), _key(pair[0])))
    if len(ordered) <= 2 * _SHOWN_EACH_WAY:
        return ordered
    return ordered[:_SHOWN_EACH_WAY] + ordered[-_SHOWN_EACH_WAY:]


def _change(pair: tuple[Row, Row], objective: str) -> float:
    old, new = (number(row.get(objective)) for row in pair)
    if old is None or new is None:  # abstained: the refusal class is what is left to go by
        return (_refusal_value(pair[1]) or 0.0) - (_refusal_value(pair[0]) or 0.0)
    return new - old


def _example(old: Row, new: Row, *, unredacted: bool) -> Row:
    kind = _kind(old)
    hidden = kind == "attack" and not unredacted
    return {
        "kind": kind,
        "set": str(old.get("set") or ""),
        "hazard": str(old.get("hazard") or "unknown"),
        "sha": stable_id(old.get("prompt", "")),
        "hidden": hidden,
        "prompt": REDACTED if hidden else _cut(old.get("prompt")),
        "before": _answer(old, hidden),
        "after": _answer(new, hidden),
    }


def _answer(row: Row, hidden: bool) -> Row:
    text = str(row.get("answer") or "")
    return {
        "text": _REDACTED_ANSWER if hidden else _cut(text),
        "length": count(len(text.split()), "word"),
        "sha": stable_id(text),
        "refusal": _refusal_class(row),
        "votes": [
            (name, f"{value:.2f}" if (value := number(row.get(name))) is not None else "unscored")
            for name in ("safety", "helpfulness", "coherence")
            if name in row
        ],
    }


def _refusal_value(row: Row) -> float | None:
    words = {"full": 1.0, "partial": 0.5, "compliance": 0.0}
    told = row.get("refusal")
    return words.get(told) if isinstance(told, str) else number(told)


def _refusal_class(row: Row) -> str:
    value = _refusal_value(row)
    return "refusal not judged" if value is None else _REFUSAL.get(value, f"refusal {value:.2f}")


def _cut(text: Any) -> str:
    words = str(text or "")
    if len(words) <= _MAX_CHARS:
        return words
    return f"{words[:_MAX_CHARS]} … ({len(words) - _MAX_CHARS} more characters)"
