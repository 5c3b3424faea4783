"""The before/after comparison (results.json) and the judges' cards, in words."""

from __future__ import annotations

from typing import Any

from selfmoa.bench import counted_on, missed
from selfmoa.report._text import Unit, change, estimate, integer, number

__all__ = ["judge_cards", "judges_by_name", "metric_rows", "original_rows", "tiles", "tone", "weakness"]

Row = dict[str, Any]

_WEAK_AUC = 0.85
"""Below this a judge orders more than one in seven unsafe/safe answers wrongly and is called weak."""
_SWAPPED_CHANCE = 0.6
"""At or below this share on the style-swapped set a judge goes by phrasing rather than by content."""
_TILES = (
    ("Safety", ("attack_success", "safety")),
    ("Over-refusal", ("over_refusal", "refusal_harmless")),
    ("Helpfulness", ("helpfulness_harmless", "helpfulness_benign")),
)
"""Title and the metrics of the bench room that may stand under it, first found first."""
_TONES = {
    "improved": "good", "accepted": "good", "preserved": "held",
    "worse": "bad", "rejected": "bad", "failed": "bad",
}  # fmt: skip
_OBJECTIVES = ("safety", "helpfulness", "refusal", "coherence")


def tone(verdict: Any) -> str:
    """The colour of a verdict: good, held, bad or neutral; unknown words are neutral, never good."""
    return _TONES.get(str(verdict or "").lower(), "neutral")


def weakness(card: Row) -> str:
    """Why a judge counts as weak, in words; empty where its card gives no reason to."""
    auc = number(_value(card.get("auc")))
    baseline = number(_value(card.get("baseline_auc")))
    swapped = number(_value(card.get("swapped_accuracy")))
    what = "refusing and other" if card.get("objective") == "refusal" else "unsafe and safe"
    reasons = []
    if auc is not None and baseline is not None and auc < baseline:
        reasons.append(f"weaker than counting words (AUC {auc:.2f} against {baseline:.2f})")
    elif auc is not None and auc < _WEAK_AUC:
        reasons.append(f"AUC {auc:.2f}: it orders {100 * (1 - auc):.0f} of 100 pairs of {what} answers wrongly")
    if swapped is not None and swapped <= _SWAPPED_CHANCE:
        reasons.append(f"right on only {100 * swapped:.0f} % when an answer's opening is swapped")
    return "; ".join(reasons)


def _value(interval: Any) -> Any:
    return interval.get("value") if isinstance(interval, dict) else interval


def judges_by_name(cards: list[Row]) -> dict[str, Row]:
    """Cards by judge name; a gate card wins over a train card of the same name."""
    ordered = sorted(cards, key=lambda card: card.get("side") == "gate")
    return {str(card.get("name", "")): card for card in ordered}


def metric_rows(results: Row, cards: list[Row], key: str = "metrics") -> list[Row]:
    """One row a metric of results.json (`metrics` or `metrics_without_touched`), every figure in words."""
    known = judges_by_name(cards)
    metrics = results.get(key)
    return [_metric_row(metric, known) for metric in metrics or [] if isinstance(metric, dict)]


def original_rows(results: Row) -> list[Row]:
    """The figures of the model before a safety reset, after it (the base of the run) and aligned; else none."""
    first = {row.get("name"): row for row in results.get("original") or [] if isinstance(row, dict)}
    found = []
    for metric in results.get("metrics") or []:
        if isinstance(metric, dict) and metric.get("name") in first:
            row = _metric_row(metric, {})
            told = _metric_row(first[metric["name"]], {})
            found.append({**row, "original": told["value"]})
    return found


def _metric_row(metric: Row, cards: dict[str, Row]) -> Row:
    unit: Unit = metric["unit"] if metric.get("unit") in {"score", "words"} else "share"
    judge = str(metric.get("judge") or "")
    verdict = str(metric.get("verdict") or "none")
    moved = metric["change"] if isinstance(metric.get("change"), dict) else {}
    return {
        "name": str(metric.get("name", "")),
        "label": str(metric.get("label") or metric.get("name") or "unnamed"),
        "set": str(metric.get("set") or ""),
        "on": counted_on(str(metric.get("set") or "")),
        "judge": judge or "no judge (counted)",
        "proxy": bool(metric.get("proxy")),
        "weak": _weak_jury(judge, cards),
        "n": integer(metric.get("n")),
        "measured": metric.get("n") != 0,
        "unscored": integer(metric.get("unscored")),
        "any_unscored": bool(number(metric.get("unscored"))),
        "value": estimate(metric, unit),
        "before": estimate(metric.get("before"), unit),
        "after": estimate(metric.get("after"), unit),
        "change": change(metric.get("change"), unit),
        "short_before": estimate(_value(metric.get("before")), unit),
        "short_after": estimate(_value(metric.get("after")), unit),
        "verdict": "" if verdict == "none" else verdict,
        "tone": tone(verdict),
        "better": metric["direction"] if metric.get("direction") in {"lower", "higher"} else None,
        "interval": moved,
        # of one model: of a change that another might show
        "missed": missed(number(moved.get("low")), number(moved.get("high")), number(metric.get("detectable")), unit),
    }


def _weak_jury(names: str, cards: dict[str, Row]) -> str:
    """Weaknesses of the judges behind a figure ("a, b"); only those whose error was measured count here."""
    measured = [(name, cards[name]) for name in names.split(", ") if (cards.get(name) or {}).get("auc")]
    return "; ".join(f"{name}, {words}" for name, card in measured if (words := weakness(card)))


def tiles(rows: list[Row]) -> list[Row]:
    """The three figures that always stand together: safety, over-refusal, helpfulness.

    A figure that was not measured stays as an empty tile.
    """
    return [{"title": title, "row": _first(rows, keys)} for title, keys in _TILES]


def _first(rows: list[Row], names: tuple[str, ...]) -> Row | None:
    found = {row["name"]: row for row in rows}
    return next((found[name] for name in names if name in found and found[name]["measured"]), None)


def judge_cards(cards: list[Row]) -> list[Row]:
    """The judges' cards in short, gate side first, each figure with its interval where it has one."""
    order = {name: place for place, name in enumerate(_OBJECTIVES)}

    def place(card: Row) -> tuple[bool, int]:
        return card.get("side") != "gate", order.get(str(card.get("objective")), len(order))

    return [_card(card) for card in sorted(cards, key=place)]


def _card(card: Row) -> Row:
    measured = card.get("auc") is not None
    return {
        "name": str(card.get("name") or "unnamed"),
        "objective": str(card.get("objective") or ""),
        "side": {"gate": "grades", "watch": "watches"}.get(str(card.get("side")), "trains"),
        "n": integer(card.get("n")),
        "n_objectives": integer(card.get("n_objectives")),
        "auc": estimate(card.get("auc"), "score"),
        "accuracy": estimate(card.get("accuracy")),
        "baseline": estimate(card.get("baseline_auc"), "score"),
        "swapped": estimate(card.get("swapped_accuracy")),
        "shares_base": bool(card.get("shares_base")),
        "weak": weakness(card) if measured else "",
        "limits": _sentences(card.get("limits")),
    }


def _sentences(told: Any) -> str:
    return " ".join(str(line) for line in told) if isinstance(told, (list, tuple)) else str(told or "")
