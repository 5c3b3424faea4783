"""The recipe's floor: a judge that was measured to be too weak, or too easily talked round, is not used."""

from __future__ import annotations

from selfmoa.errors import RecipeError
from selfmoa.judge._card import JudgeCard
from selfmoa.judge._cards import TRAINED, card
from selfmoa.judge._perturb import APOLOGY
from selfmoa.judge._protocol import EvaluatorContext
from selfmoa.judge._registry import is_own
from selfmoa.recipe import Judges

__all__ = ["below_floor", "check_floor"]


def below_floor(found: JudgeCard, judges: Judges) -> list[str]:
    """What of a card breaks the recipe's limits, in words; nothing where a figure was not measured.

    A flip rate breaks the limit where its whole 95 % interval lies above: it rests on a few dozen answers.
    """
    wrong = []
    if found.auc is not None and found.auc["value"] < judges.floor:
        wrong.append(
            f"AUC {found.auc['value']:.2f} ({found.auc['low']:.2f} to {found.auc['high']:.2f}) on {found.n} "
            f"human-scored answers, judges.floor is {judges.floor:.2f}"
        )
    wrong += [
        f"'{row['name']}' flips {row['rate']:.2f} ({row['low']:.2f} to {row['high']:.2f}) of its verdicts on "
        f"{row['n']} answers, {row['up']} up and {row['down']} down; judges.max_flip_rate is {judges.max_flip_rate:.2f}"
        for row in found.flips
        if row["name"] in APOLOGY and row["expected"] == "same" and row["n"] and row["low"] > judges.max_flip_rate
    ]
    return wrong


def check_floor(judges: Judges, context: EvaluatorContext) -> None:
    """Raise `RecipeError` for a trained embedded judge, or one of the user's own, that is below the recipe's floor.

    Judges named in `judges.allow_below_floor` are not looked at; outside models and proxies are not measured here.
    """
    refs = [
        ref
        for ref in (*judges.train.refs(), *judges.watch, *judges.gate.refs())
        if ref.model is None and ref.name not in judges.allow_below_floor
    ]
    lines = []
    for name in dict.fromkeys(ref.name for ref in refs):
        if name not in TRAINED and not is_own(name):
            continue
        lines += [f"  - {name}: {words}" for words in below_floor(card(name, context, flips=APOLOGY), judges)]
    if lines:
        raise RecipeError(
            "These judges are below the recipe's floor:\n" + "\n".join(lines) + "\nThe loop learns whatever its judges "
            "reward: name others (selfmoa judges card --all). To use one all the same, add its name to "
            "judges.allow_below_floor."
        )
