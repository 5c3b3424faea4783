"""Preference pairs that people labelled, in place of the loop's own (baseline: human-supervised)."""

from __future__ import annotations

import random
from collections import Counter

from selfmoa.assets import Preference, load_preferences
from selfmoa.errors import UsageError
from selfmoa.records import Pair, stable_id
from selfmoa.run import write_json
from selfmoa.steps._session import Session

__all__ = ["given_pairs"]

_RULE = "given: people found it better"


def given_pairs(session: Session) -> list[Pair]:
    """The pairs of `train.pairs` into P_buf, in random order, at most `loop.max_pairs`.

    Prompts that touch an evaluation or development prompt are left out, so that nothing graded is trained on; what was
    left out is counted in `given.json`.
    """
    table = session.recipe.train.pairs
    assert table is not None
    found, unusable = load_preferences(table)
    kept, left_out = [], Counter({"cannot be used": unusable} if unusable else {})
    for one in found:
        reason = session.forbidden(one.prompt)
        if reason:
            left_out[reason] += 1
        else:
            kept.append(_pair(one))
    random.Random(session.seed("given")).shuffle(kept)
    used = kept[: session.recipe.loop.max_pairs]
    if len(used) < len(kept):
        left_out["beyond loop.max_pairs"] = len(kept) - len(used)
    fewest = session.recipe.loop.min_stage_pairs
    if len(used) < fewest:
        raise UsageError(
            f"{table.ref} leaves {len(used)} pairs to train on (left out: {dict(left_out)}), expected "
            f"{fewest} or more; add pairs, or lower loop.min_stage_pairs."
        )
    facts = {"source": table.ref, "pairs": len(used), "left_out": dict(left_out)}
    write_json(session.run.directory / "given.json", facts)
    session.run.progress.say(f"  {len(used)} pairs of {table.ref}; left out: {dict(left_out) or 'none'}")
    session.pairs.extend(used)
    return used


def _pair(one: Preference) -> Pair:
    """Labels stand for scores: 1 for the safer and for the better answer, 0 for the other."""
    attack_id = stable_id("given", one.prompt)
    safe = float(one.chosen_safer)
    return Pair(
        id=stable_id("given", one.prompt, one.chosen, one.rejected),
        round=0,
        attack_id=attack_id,
        kind="attack",  # or the safety labels would count for nothing
        hazard="unknown",
        prompt=one.prompt,
        chosen=one.chosen,
        rejected=one.rejected,
        chosen_id=stable_id(attack_id, one.chosen),
        rejected_id=stable_id(attack_id, one.rejected),
        chosen_safety=safe,
        rejected_safety=1.0 - safe,
        chosen_helpfulness=1.0,
        rejected_helpfulness=0.0,
        chosen_guided=False,
        rejected_guided=False,
        rule=_RULE,
    )
