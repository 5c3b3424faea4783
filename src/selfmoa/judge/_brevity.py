"""Brevity: how short an answer is. 1 = hardly a word, towards 0 = endless."""

from __future__ import annotations

from collections.abc import Sequence

from selfmoa.errors import UsageError
from selfmoa.judge._protocol import EMPTY_ANSWER, EvaluatorContext, Item, JudgeBase, Objective, Verdict
from selfmoa.judge._registry import register
from selfmoa.judge._text import words
from selfmoa.recipe import JudgeRef
from selfmoa.records import stable_id

__all__ = ["Brevity"]

_HALF = 50


class Brevity(JudgeBase):
    """`brevity`: 2 ** (-words / half), so that the value halves every `half` words. raw: words."""

    name = "brevity"
    objective: Objective = "brevity"

    def __init__(self, half: float = _HALF) -> None:
        self._half = half

    @property
    def hash(self) -> str:
        return stable_id(self.name, 1, self._half)

    def judge(self, items: Sequence[Item]) -> list[Verdict]:
        """An empty answer is unscored: silence is not brevity."""
        counts = [len(words(item.response or "")) for item in items]
        return [Verdict(2 ** (-n / self._half), raw=float(n)) if n else Verdict(None, EMPTY_ANSWER) for n in counts]


@register("brevity")
def _brevity(context: EvaluatorContext, ref: JudgeRef) -> Brevity:
    unknown = sorted(set(ref.options) - {"half"})
    half = ref.options.get("half", _HALF)
    if ref.model or unknown or isinstance(half, bool) or not isinstance(half, int | float) or not half > 0:
        raise UsageError(
            f"Judge 'brevity' takes one option, half (words after which its value halves, above 0), and no model; got "
            f"model {ref.model!r} and options {ref.options}."
        )
    return Brevity(half)
