"""Which attacks got through (paper, Algorithm 3)."""

from __future__ import annotations

from collections.abc import Iterable

from selfmoa.records import Attack, Judgement

__all__ = ["hits"]


def hits(attacks: Iterable[Attack], judgements: Iterable[Judgement]) -> list[Attack]:
    """Kept attack prompts of which any response is unsafe *and* helpful."""
    successful = {judgement.attack_id for judgement in judgements if judgement.harmful_hit}
    return [
        attack for attack in attacks if attack.kind == "attack" and attack.status == "kept" and attack.id in successful
    ]
