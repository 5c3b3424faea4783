"""What the moves of the loop share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from selfmoa.assets import is_excluded, load_table
from selfmoa.attack import History, Material, Pool, Tally
from selfmoa.bench import DevAnswer, EvaluationSets, Fence
from selfmoa.generate import Generation, LanguageModel, Request
from selfmoa.instructions import Constraints, read_constraints
from selfmoa.judge import Evaluator, EvaluatorContext, Intent, Item
from selfmoa.recipe import DataRef, Recipe, Sampling
from selfmoa.records import Draft, Pair, Prompt
from selfmoa.run import Cache, Run

__all__ = ["Evaluation", "Judged", "Session", "TrainJudges"]


@dataclass(frozen=True)
class TrainJudges:
    """The judges of the training side, loaded."""

    safety: tuple[Evaluator, ...]
    helpfulness: tuple[Evaluator, ...]
    refusal: Evaluator
    coherence: Evaluator
    further: tuple[tuple[str, Evaluator], ...] = ()
    """(objective, judge) of the recipe's further objectives."""

    def all(self) -> tuple[Evaluator, ...]:
        """Every judge but those of further objectives; safety's first, which may read likelihoods for the others."""
        return (self.refusal, *self.safety, self.coherence, *self.helpfulness)


@dataclass
class Judged:
    """Prompts, wherever their answers come from, and what the judges of the answers need."""

    run: Run
    sets: EvaluationSets
    context: EvaluatorContext
    trained_in: Path | None
    """Directory of the run whose prompts the adapter was trained on; None where nothing was trained."""
    cache: Cache | None
    """Answers and votes of earlier evaluations; a run of the loop makes its own."""

    @property
    def recipe(self) -> Recipe:
        """The run's recipe."""
        return self.run.recipe

    @property
    def weights(self) -> tuple[str, bool]:
        """What tells the base's weights from others in a key: the files, and whether they were quantised."""
        return self.context.model_key, self.recipe.model.load_in_4bit

    @cached_property
    def _constraints(self) -> dict[str, dict[str, Constraints]]:
        return {}

    def constraints(self, table: DataRef) -> dict[str, Constraints]:
        """What the prompts of a table lay down; read once, for the model before and after."""
        key = table.model_dump_json()
        if key not in self._constraints:
            self._constraints[key] = read_constraints(load_table(table))
        return self._constraints[key]

    def seed(self, *parts: object) -> int:
        """A seed for one step, derived from the recipe's; below 2**31."""
        text = "\x1f".join(str(part) for part in (self.recipe.seed, *parts))
        return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) // 2


@dataclass
class Evaluation(Judged):
    """The same with the model that answers."""

    model: LanguageModel


@dataclass
class Session(Evaluation):
    """The state of a run in memory. All of it is rebuilt from the run directory on resume."""

    material: Material
    fence: Fence
    """Refuses generated prompts that touch an evaluation or development prompt."""
    judges: TrainJudges
    watch: tuple[Evaluator, ...]
    """Safety judges that neither train nor grade; empty where no stage is checked."""
    pool: Pool
    history: History
    intent: Intent | None = None
    """Tells attacks from harmless prompts; None where the recipe does not ask for it."""
    tally: Tally = field(default_factory=Tally)
    """What the rounds so far tell about seeds."""
    learnable: dict[str, float] = field(default_factory=dict)
    """How mixed the model's own answers to each prompt of the round are; empty where nobody asks."""
    retrained: set[str] = field(default_factory=set)
    """Attackers that are no longer what their seed pairs made them."""
    expansions: list[tuple[str, str]] = field(default_factory=list)
    """E_buf: successful (s, e) since the last retraining."""
    hidings: list[tuple[str, str]] = field(default_factory=list)
    """H_buf: successful (e, h) since the last retraining."""
    pairs: list[Pair] = field(default_factory=list)
    """P_buf: preference pairs since the last stage."""
    unaligned: Sequence[DevAnswer] = ()
    """The unaligned model on the development prompts; empty until a check asks."""
    unfinished: set[str] = field(default_factory=set)
    """Ids of responses that ended at the length limit, not at an end of turn."""
    flips: list[tuple[int, int]] = field(default_factory=list)
    """(turned by a change, all) attack pairs of each round since the last stage."""
    trained: dict[str, Pair] = field(default_factory=dict)
    """Pairs of the stages so far, by id."""
    unchecked_since: dict[str, Any] | None = None
    """The target's weights before updates that no check has seen yet; None where there are none."""
    unreviewed: dict[str, Any] | None = None
    """Those before the last of these updates that a review trained; None where there was none."""
    stages: int = 0
    gathered: int = 0
    """Pairs that joined P_buf since the start."""

    @property
    def full(self) -> bool:
        """True where the run has all the pairs that it may train on (`loop.max_pairs`)."""
        limit = self.recipe.loop.max_pairs
        return limit is not None and self.gathered >= limit

    def batches(self, requests: Sequence[Request], *, size: int | None = None) -> list[list[int]]:
        """Indices of requests in batches of like length (longest first): little padding, a fixed order."""
        size = size or self.recipe.generate.batch_size
        lengths = [self.model.length(request) for request in requests]
        order = sorted(range(len(requests)), key=lambda index: (-lengths[index], index))
        return [order[start : start + size] for start in range(0, len(order), size)]

    def sample(
        self, requests: Sequence[Request], sampling: Sampling, *, role: str | None, seed: int
    ) -> list[Generation]:
        """Sample one batch with a role's adapter; None: by the model as it was."""
        return self.model.generate(requests, sampling, role=role, seed=seed, batch_size=self.recipe.generate.batch_size)

    def answers(
        self,
        path: Path,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        *,
        label: str,
        seed: Callable[[int], int] = int,
    ) -> dict[int, str]:
        """The target's answer to each prompt, by its place; resumable batches, `seed(batch number)` for each."""
        requests = [Request(user=prompt.text) for prompt in prompts]

        def write(number: int, batch: Sequence[int]) -> list[Draft]:
            texts = self.sample([requests[i] for i in batch], sampling, role="target", seed=seed(number))
            return [Draft(str(i), text.text, text.n_tokens) for i, text in zip(batch, texts, strict=True)]

        drafts = self.run.batched(path, Draft, self.batches(requests), write, label=label)
        return {int(draft.id): draft.text for draft in drafts}

    def common(self, path: Path, role: str, *inputs: object) -> AbstractContextManager[None]:
        """Around what a role's adapter as it is now, and the inputs, put into `path`: runs of a study make it once."""
        if not self.run.shares:  # a run of its own need not read its weights for this
            return nullcontext()
        model = (*self.weights, self.model.fingerprint(role))
        return self.run.common(path.stem, [path], *model, self.recipe.generate.batch_size, *inputs)

    def forbidden(self, text: str) -> str:
        """Why a generated prompt may not be used, or ''."""
        if is_excluded(text):
            return "excluded content"
        if self.fence.touches(text):
            return "touches an evaluation prompt"
        return ""

    def refuses(self, text: str) -> bool:
        """True where an attacker declined instead of writing a prompt (plain refusal patterns)."""
        value = self.judges.refusal.score([Item("", "", text)])[0].value
        return value is not None and value >= 0.5
