"""The whole audit: labels in, audit.json and tables out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from selfmoa.audit._agree import HumanAgreement, JudgeAgreement, human_agreement, judge_agreement
from selfmoa.audit._figures import MINIMUM, AuditFigure, Plausible, audit_figures
from selfmoa.audit._human import by_item
from selfmoa.audit._key import folder, load_answers, load_key
from selfmoa.audit._labels import label_files, read_labels
from selfmoa.errors import UsageError
from selfmoa.run import read_json, write_json

__all__ = ["AuditResult", "audit"]

SCHEMA = 1
_ASSUMED = (0.7, 0.95)
"""Sensitivity and specificity where no card tells."""
_BY = {"safety": "safety", "refusal": "refusal_harmful", "helpfulness": "helpfulness_harmless"}
"""Objective -> a figure that rests on its judges alone."""


@dataclass(frozen=True)
class AuditResult:
    """What people's labels say of the figures, of the judges and of people."""

    items: int
    labels: Mapping[str, int]
    """Annotator -> items labelled."""
    figures: tuple[AuditFigure, ...]
    judges: tuple[JudgeAgreement, ...]
    people: tuple[HumanAgreement, ...]
    notes: tuple[str, ...]

    @property
    def corrected(self) -> bool:
        """True where at least one figure is corrected."""
        return any(not figure.note for figure in self.figures)

    def to_json(self) -> dict[str, Any]:
        """Plain values; `schema` changes with the meaning of a field."""
        return {"schema": SCHEMA, "minimum_labels": MINIMUM, "corrected": self.corrected, **asdict(self)}


def audit(
    run: Path,
    labels: Sequence[Path] = (),
    *,
    sensitivity: tuple[float, float] | None = None,
    specificity: tuple[float, float] | None = None,
) -> AuditResult:
    """Read the labels (those in RUN/audit where none are named), and write RUN/audit/audit.json.

    `sensitivity` and `specificity` are the plausible ranges of the judges for figures with too few labels; without
    them each judge's card speaks, and where it is silent 0.70 to 0.95 is assumed.

    Raises `UsageError` where the run is not finished, nothing was drawn, or the labels are wrong in some way.
    """
    answers = load_answers(run)
    key = load_key(run, answers)
    if key is None:
        raise UsageError(f"No sample was drawn of {run} yet; `selfmoa judges audit {run}` draws one.")
    paths = list(labels) or label_files(run)
    found = read_labels(paths, {item.id for item in key.items})
    says = by_item(key, answers, found)
    results = read_json(run / "results.json") or {}
    judged_by = {str(one["name"]): str(one.get("judge") or "") for one in results.get("metrics", [])}
    panels = {objective: judged_by.get(figure, "") for objective, figure in _BY.items()}
    plausible = _plausible(read_json(run / "judges.json") or [], panels, sensitivity, specificity)
    figures = audit_figures(
        key, answers, says, judges=judged_by, plausible=plausible, tolerance=float(results.get("tolerance", 0.1))
    )
    result = AuditResult(
        items=len(key.items),
        labels=dict(sorted(Counter(label.annotator for label in found).items())),
        figures=tuple(figures),
        judges=tuple(judge_agreement(run, key, answers, says, panels)),
        people=tuple(human_agreement(found)),
        notes=tuple(_notes(len(key.items), {label.id for label in found}, figures, plausible)),
    )
    write_json(folder(run) / "audit.json", result.to_json())
    return result


def _plausible(
    cards: Any,
    panels: Mapping[str, str],
    sensitivity: tuple[float, float] | None,
    specificity: tuple[float, float] | None,
) -> dict[str, Plausible]:
    known = {str(card.get("name")): card for card in cards if isinstance(card, dict)}
    found = {}
    for objective, names in panels.items():
        told = _card_ranges(known[names]) if names in known else None  # how a panel errs no member's card says
        event = ", where partial refusals count too" if objective == "refusal" else ""
        made = (
            Plausible(*told, f"card of {names}, on other answers{event}")
            if told
            else Plausible(_ASSUMED, _ASSUMED, "assumed for want of a card")
        )
        if sensitivity or specificity:
            made = Plausible(sensitivity or made.sensitivity, specificity or made.specificity, "as given")
        found[objective] = made
    return found


def _card_ranges(card: Mapping[str, Any]) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Intervals of sensitivity and specificity; that of the accuracy for both where a card has no better."""
    row = card.get("as_it_judges") or card
    told = _interval(row.get("sensitivity")), _interval(row.get("specificity"))
    if told[0] and told[1]:
        return told[0], told[1]
    accuracy = _interval(card.get("accuracy"))
    return (accuracy, accuracy) if accuracy else None


def _interval(figure: Any) -> tuple[float, float] | None:
    if not isinstance(figure, dict) or figure.get("low") is None or figure.get("high") is None:
        return None
    return float(figure["low"]), float(figure["high"])


def _told(objective: str, given: Plausible) -> str:
    sensitivity, specificity = ("{:.2f}-{:.2f}".format(*ends) for ends in (given.sensitivity, given.specificity))
    return f"{objective}: sensitivity {sensitivity}, specificity {specificity}, {given.source}"


def _notes(
    items: int, labelled: set[str], figures: Sequence[AuditFigure], plausible: Mapping[str, Plausible]
) -> list[str]:
    notes = []
    if len(labelled) < items:
        notes.append(
            f"{items - len(labelled)} of {items} items are not labelled. What is left out must not depend on the "
            "answer: items skipped because they are hard to judge bias the figures."
        )
    if any(figure.note for figure in figures):
        told = "; ".join(_told(objective, given) for objective, given in plausible.items())
        notes.append(
            f"Figures with fewer than {MINIMUM} labels a checkpoint are shown as the judges give them. The band beside "
            f"them is what remains open if the judge errs as told here ({told}) and differently before and after."
        )
    return notes
