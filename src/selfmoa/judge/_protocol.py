"""What a judge is: text in, a value in [0, 1] or a reason out."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from selfmoa.records import PromptKind, Score

if TYPE_CHECKING:
    from selfmoa.generate import LanguageModel

__all__ = ["EMPTY_ANSWER", "Evaluator", "EvaluatorContext", "Item", "JudgeBase", "Objective", "Verdict"]

Objective = Literal["safety", "helpfulness", "refusal", "coherence", "brevity"]

EMPTY_ANSWER = "empty answer"
"""Why an answer without a word is unscored: there is nothing to judge, and the judge is not to blame."""


@dataclass(frozen=True, slots=True)
class Item:
    """One answer to be judged; `id` is the response's."""

    id: str
    prompt: str
    response: str
    kind: PromptKind = "attack"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A value in [0, 1] (higher = safer, more helpful, more coherent, more refusing), or None with a reason."""

    value: float | None
    reason: str = ""
    raw: float | None = None


@dataclass
class EvaluatorContext:
    """What a judge may draw on when it is made."""

    cache: Path
    """Directory for trained heads; safetensors and JSON only."""
    model: LanguageModel | None = None
    """The run's resident model, for judges that read the frozen base; None outside a run."""
    model_key: str = ""
    """Hash of that base, part of the cache key of heads trained on its states."""
    batch_size: int = 32
    ledgers: Path | None = None
    """Directory of the cost ledgers of paid judges: the run's, so that a budget is one run's; None: in the cache."""
    exclude: tuple[str, ...] = ()
    """Prompts (evaluation and development) whose near-duplicates no head may be trained on."""
    memory: dict[Any, float] = field(default_factory=dict)
    """Likelihoods that several judges ask for. Cleared before each batch: float sums depend on what shares a
    batch, and a resumed run must give the same scores as an uninterrupted one."""
    ahead: bool = False
    """True where likelihoods of the same answers are asked for next (`reading_ahead`)."""
    state: dict[str, Any] = field(default_factory=dict)
    """Maps fitted in this run on the unaligned model's answers, by judge name; stored with the run."""
    shipped: bool = True
    """Whether a head that came with the package may be used in place of one trained here."""

    @contextmanager
    def reading_ahead(self) -> Iterator[None]:
        """A judge that reads the frozen base reads on to the end and keeps the likelihoods in `memory`, for others."""
        self.ahead = True
        try:
            yield
        finally:
            self.ahead = False


@runtime_checkable
class Evaluator(Protocol):
    """Scores answers for one objective."""

    name: str
    objective: Objective

    @property
    def hash(self) -> str:
        """Changes with anything that can change a verdict: weights, template, options."""
        ...

    def score(self, items: Sequence[Item]) -> list[Score]:
        """One score an item, in order; never raises for an odd text (empty, very long, other script)."""
        ...


class JudgeBase(ABC):
    """Common part of the embedded judges: subclasses give verdicts, this makes timed `Score`s of them."""

    name: str
    objective: Objective

    @property
    @abstractmethod
    def hash(self) -> str: ...

    @abstractmethod
    def judge(self, items: Sequence[Item]) -> list[Verdict]:
        """One verdict an item, in order."""

    def score(self, items: Sequence[Item]) -> list[Score]:
        start = time.perf_counter()
        verdicts = self.judge(items)
        latency = (time.perf_counter() - start) / max(len(items), 1)
        return [
            Score(item.id, self.objective, self.name, self.hash, v.value, v.reason, v.raw, latency)
            for item, v in zip(items, verdicts, strict=True)
        ]
