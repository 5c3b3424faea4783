"""Which judges cannot be independent: those that read the same model, or the target's own."""

from __future__ import annotations

from collections import defaultdict

from selfmoa.judge._about import ABOUT, TARGET
from selfmoa.judge._families import preset_note
from selfmoa.recipe import JudgeRef, Judges, model_read, same_model

__all__ = ["kin", "kin_notes"]


def kin(ref: JudgeRef) -> str:
    """The model that a judge reads, or its own name where it shares none."""
    if named := model_read(ref):
        return named
    if ref.name in ABOUT:
        return ABOUT[ref.name].kin or ref.name
    preset = preset_note(ref.name)
    return same_model(preset.model) if preset and preset.model else ref.name


def kin_notes(judges: Judges) -> list[str]:
    """In words: safety judges of one side that share a model, read the target's own base, or watch what they grade."""
    notes = []
    for side, refs in (("training", judges.train.safety), ("grading", judges.gate.safety)):
        members: dict[str, list[str]] = defaultdict(list)
        for ref in refs:
            members[kin(ref)].append(ref.name)
        for model, names in members.items():
            if model == TARGET:
                notes.append(f"{' and '.join(names)} ({side}) reads {TARGET}, and may share its blind spots")
            elif len(names) > 1:
                notes.append(f"{' and '.join(names)} ({side}) read the same model, {model}: their votes are not two")
    for ref in judges.watch:
        same = [other.name for other in (*judges.train.safety, *judges.gate.safety) if kin(other) == kin(ref)]
        if same:
            notes.append(f"{ref.name} (watch) reads the same model as {' and '.join(same)}")
    return notes
