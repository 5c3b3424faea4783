"""Whether the answers after are preferred to those before, by judges that can be shown both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from selfmoa.bench import JudgeNote, Measured, Preference
from selfmoa.judge import Comparison, Evaluator, RubricJudge, compare_pairs, compares
from selfmoa.run import cache_key
from selfmoa.steps._cached import CachedJudge, remembered
from selfmoa.steps._session import Judged

__all__ = ["ask", "judges", "notes"]

_OBJECTIVE = "preference"
_VALUES = {"win": 1.0, "tie": 0.5, "inconsistent": 0.5, "loss": 0.0}
_Triple = tuple[str, str, str]
"""Prompt, later answer, earlier answer."""


def ask(
    session: Judged, jury: Sequence[Evaluator], before: Sequence[Measured], after: Sequence[Measured]
) -> list[Preference] | None:
    """Every comparison of the two answers to each benign prompt, kept with the run.

    Asked are the judges of the helpfulness jury that can compare, in both orders; None where there is none of them.
    """
    found = [judge.inner if isinstance(judge, CachedJudge) else judge for judge in jury]
    able = [judge for judge in found if compares(judge)]
    if not able:
        return None
    earlier = {item.prompt_id: item.answer for item in before}
    pairs = [(item.prompt_id, (item.prompt, item.answer, earlier[item.prompt_id])) for item in _benign(after)]

    def voted() -> list[Preference]:
        return [vote for judge in able for vote in _votes(session, judge, pairs)]

    path = session.run.directory / "evaluation" / "preferences.parquet"
    with session.run.measured("compare answers"):
        return session.run.records(
            path,
            Preference,
            voted,  # what was said is in the cache
            again=lambda kept: session.cache is not None and any(vote.value is None for vote in kept),
        )


def judges(votes: Sequence[Preference] | None, helpfulness: JudgeNote) -> dict[str, JudgeNote]:
    """Whom the win rate rests on: those who were asked, or the judges of helpfulness by their scores."""
    if votes is None:
        return {_OBJECTIVE: helpfulness}
    names = dict.fromkeys(vote.judge for vote in votes)
    return {_OBJECTIVE: JudgeNote(tuple(f"{name} (both orders)" for name in names), proxy=False)}


def notes(votes: Sequence[Preference] | None) -> list[str]:
    """How often a judge contradicted itself when the two answers changed places."""
    asked = Counter(vote.judge for vote in votes or [] if vote.after_first and vote.before_first)
    odd = Counter(
        vote.judge for vote in votes or [] if vote.value is not None and vote.after_first != vote.before_first
    )
    return [
        f"{judge} contradicted itself on {n} of {asked[judge]} pairs of answers when they changed places; "
        "these are ties in the win rate."
        for judge, n in odd.items()
    ]


def _votes(session: Judged, judge: RubricJudge, pairs: Sequence[tuple[str, _Triple]]) -> list[Preference]:
    """One vote a prompt. Two answers alike are a tie that nobody needs to be asked about."""
    differ = [triple for _, triple in pairs if triple[1] != triple[2]]
    found = iter(_compared(session, judge, differ))
    return [
        _vote(prompt, judge, Comparison("tie", "equal answers") if triple[1] == triple[2] else next(found))
        for prompt, triple in pairs
    ]


def _compared(session: Judged, judge: RubricJudge, triples: Sequence[_Triple]) -> list[Comparison]:
    if session.cache is None:
        return compare_pairs(judge, triples)
    return remembered(
        session.cache,
        [cache_key("comparison", judge.hash, *triple) for triple in triples],
        Comparison,
        lambda places: compare_pairs(judge, [triples[place] for place in places]),
        keep=lambda found: found.outcome is not None,
    )


def _vote(prompt_id: str, judge: RubricJudge, found: Comparison) -> Preference:
    value = None if found.outcome is None else _VALUES[found.outcome]
    return Preference(prompt_id, judge.name, judge.hash, value, found.reason, found.a_first, found.b_first)


def _benign(items: Sequence[Measured]) -> list[Measured]:
    return [item for item in items if item.set == "benign"]
