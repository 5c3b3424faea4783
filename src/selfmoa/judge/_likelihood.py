"""Mean log-probs of answers under the frozen base, remembered: relevance and coherence ask for the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from selfmoa.errors import UsageError
from selfmoa.judge._protocol import EvaluatorContext
from selfmoa.judge._text import cut_words

__all__ = ["Likelihood"]

_PROMPT_TOKENS, _ANSWER_TOKENS = 192, 128


class Likelihood:
    """log p(answer | prompt) / tokens in nats; None for an empty answer."""

    def __init__(self, context: EvaluatorContext) -> None:
        if context.model is None:
            raise UsageError("This judge reads the run's resident model, but there is none; give context.model.")
        self._model: Any = context.model
        self._batch_size = context.batch_size
        self._memory = context.memory

    def given_prompt(self, pairs: Sequence[tuple[str, str]]) -> list[float | None]:
        """Under the prompt."""
        return self._mean([(self._cut(prompt, _PROMPT_TOKENS), response) for prompt, response in pairs])

    def given_nothing(self, responses: Sequence[str]) -> list[float | None]:
        """Under an empty user turn: how likely the answer is whatever was asked."""
        return self._mean([("", response) for response in responses])

    def learn(self, prompt: str, response: str, total: float, n_tokens: int) -> None:
        """Keep what another judge read on its way: the sum of log p(response | prompt) over so many tokens."""
        key = (self._cut(prompt, _PROMPT_TOKENS), self._cut(response, _ANSWER_TOKENS))
        if key == (prompt, response):  # else what it read is not what will be asked
            self._memory[key] = total / max(n_tokens, 1)

    def _mean(self, pairs: Sequence[tuple[str, str]]) -> list[float | None]:
        from selfmoa.generate import Request

        wanted = [(prompt, self._cut(response, _ANSWER_TOKENS)) for prompt, response in pairs]
        new = list(dict.fromkeys(key for key in wanted if key[1] and key not in self._memory))
        rendered = [(self._model.render(Request(user=prompt)), response) for prompt, response in new]
        if rendered:
            scores = self._model.logprobs(rendered, role=None, batch_size=self._batch_size)
            self._memory.update({key: total / max(n, 1) for key, (total, n) in zip(new, scores, strict=True)})
        return [self._memory.get(key) for key in wanted]

    def _cut(self, text: str, limit: int) -> str:
        text = cut_words(text, limit)
        tokens = self._model.tokenizer(text, add_special_tokens=False)["input_ids"]
        return text if len(tokens) <= limit else str(self._model.tokenizer.decode(tokens[:limit]))
