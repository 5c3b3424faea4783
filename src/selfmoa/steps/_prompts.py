"""Diversity and coverage of what is asked: the evaluation prompts, and the attacks that a run wrote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from selfmoa import assets
from selfmoa.bench import KINDS, Measured, plain_json, prompt_facts
from selfmoa.judge import ENCODER, encoder
from selfmoa.records import Attack
from selfmoa.run import read_records

__all__ = ["told"]

Asked = tuple[str, list[str], list[str]]
"""(name, plain requests, their hazards; none where they are harmless)."""


def told(items: Sequence[Measured], seed: int, written_in: Path | None = None) -> dict[str, Any]:
    """Facts of each evaluation set and of each round's kept attacks, as results.json has them.

    Requests are plain, as judges are told them. No spread where the encoder is not at hand: none is fetched for it.
    """
    embed = encoder().embed if assets.is_cached(ENCODER) else None
    asked = list(_sets(items))
    if written_in:
        asked += _rounds(written_in)
    return {
        name: plain_json(asdict(prompt_facts(texts, hazards, embed=embed, seed=seed))) for name, texts, hazards in asked
    }


def _sets(items: Sequence[Measured]) -> Iterator[Asked]:
    for name, kind in KINDS.items():
        found = [item for item in items if item.set == name]
        if found:
            yield name, [item.prompt for item in found], [item.hazard for item in found] if kind == "attack" else []


def _rounds(directory: Path) -> Iterator[Asked]:
    for path in sorted(directory.glob("round_*/attacks.parquet")):
        written = read_records(path, Attack) or []
        kept = [attack for attack in written if attack.kind == "attack" and attack.status == "kept"]
        if kept:
            yield (
                f"attacks of round {kept[0].round}",
                [attack.expansion for attack in kept],
                [attack.hazard for attack in kept],
            )
