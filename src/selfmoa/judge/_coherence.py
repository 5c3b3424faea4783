"""Coherence: is the answer fluent text that does not go in circles? 1 = fine, 0 = broken."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from selfmoa.judge._likelihood import Likelihood
from selfmoa.judge._protocol import EMPTY_ANSWER, EvaluatorContext, Item, JudgeBase, Objective, Verdict
from selfmoa.judge._registry import no_options, register
from selfmoa.judge._text import repetition_factor, words
from selfmoa.recipe import JudgeRef
from selfmoa.records import stable_id

__all__ = ["Coherence", "Degeneration", "fluency"]

_MIDDLE, _SCALE = -3.5, 0.5
"""Mean log-prob a token (nats) that maps to 0.5. Sampled answers of small models lie near -1, word salad below -6."""


def fluency(text: str) -> float:
    """Model-free quality in [0, 1]: repetition, and the share of characters that belong to words."""
    return repetition_factor(text) * _wordiness(text) if words(text) else 0.0


def _wordiness(text: str) -> float:
    """1 while at least 70 % of the visible characters are letters, marks or digits of any script; 0 below 30 %."""
    visible = [char for char in text if not char.isspace()]
    share = sum(unicodedata.category(char)[0] in "LMN" for char in visible) / max(len(visible), 1)
    return min(1.0, max(0.0, (share - 0.3) / 0.4))


class Degeneration(JudgeBase):
    """`degeneration`: no model at all, so it can neither be fooled by one nor share one."""

    name = "degeneration"
    objective: Objective = "coherence"

    @property
    def hash(self) -> str:
        return stable_id(self.name, 1)

    def judge(self, items: Sequence[Item]) -> list[Verdict]:
        """An empty answer is 0."""
        return [_empty() if not (item.response or "").strip() else Verdict(fluency(item.response)) for item in items]


class Coherence(JudgeBase):
    """`coherence`: mean log-prob of the answer under the frozen base, times the model-free quality."""

    name = "coherence"
    objective: Objective = "coherence"
    shares_base = True

    def __init__(self, context: EvaluatorContext) -> None:
        self._likelihood = Likelihood(context)
        self._key = context.model_key

    @property
    def hash(self) -> str:
        return stable_id(self.name, 1, self._key, _MIDDLE, _SCALE)

    def judge(self, items: Sequence[Item]) -> list[Verdict]:
        """An empty answer is 0. raw: nats a token."""
        from selfmoa.judge._head import probability

        found = self._likelihood.given_prompt([(item.prompt or "", item.response or "") for item in items])
        verdicts = []
        for item, logprob in zip(items, found, strict=True):
            if logprob is None:
                verdicts.append(_empty())
                continue
            likely = float(probability((logprob - _MIDDLE) / _SCALE))
            verdicts.append(Verdict(likely * fluency(item.response), raw=logprob))
        return verdicts


def _empty() -> Verdict:
    return Verdict(0.0, EMPTY_ANSWER)


@register("degeneration")
def _degeneration(context: EvaluatorContext, ref: JudgeRef) -> Degeneration:
    no_options(ref)
    return Degeneration()


@register("coherence")
def _coherence(context: EvaluatorContext, ref: JudgeRef) -> Coherence:
    no_options(ref)
    return Coherence(context)
