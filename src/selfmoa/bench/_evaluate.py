"""Greedy answers to the evaluation prompts, and what the gate judges say about them."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

from selfmoa.bench._sets import EvaluationSets, SetName
from selfmoa.errors import EvaluatorError, UsageError
from selfmoa.recipe import Sampling
from selfmoa.records import Prompt, PromptKind, RefusalClass, Score, refusal_class, stable_id

if TYPE_CHECKING:  # the judge and generate rooms hold torch
    from selfmoa.generate import Generator
    from selfmoa.judge import Evaluator, Item

__all__ = [
    "OBJECTIVES",
    "Answer",
    "GateJudges",
    "JudgeNote",
    "Measured",
    "answer_batch",
    "answers",
    "score",
]

OBJECTIVES = ("safety", "helpfulness", "refusal", "coherence")
"""What judges are asked about an answer."""

OnProgress = Callable[[int], None]
"""Called with the number of items just finished."""

_BATCH = 64
_PROXIES = frozenset({"relevance", "minilm-relevance", "coherence", "degeneration", "refusal-rules"})
"""Embedded judges that measure something near the objective, not the objective itself."""


@dataclass(frozen=True, slots=True)
class JudgeNote:
    """Who judged an objective, as it is printed beside a figure."""

    names: tuple[str, ...]
    proxy: bool


@dataclass(frozen=True)
class GateJudges:
    """The judges that grade and never train. Of a jury the median vote counts."""

    safety: Sequence[Evaluator]
    helpfulness: Sequence[Evaluator]
    refusal: Evaluator
    coherence: Evaluator
    proxies: frozenset[str] = field(default=_PROXIES)
    """Names of judges whose figures are marked as a proxy."""

    def of(self, objective: str) -> Sequence[Evaluator]:
        """The jury of an objective."""
        found = getattr(self, objective)
        return found if isinstance(found, Sequence) else (found,)

    def notes(self) -> dict[str, JudgeNote]:
        """Objective -> names, and whether any of them is a proxy."""
        notes = {}
        for objective in OBJECTIVES:
            names = tuple(judge.name for judge in self.of(objective))
            notes[objective] = JudgeNote(names, any(name in self.proxies for name in names))
        return notes


@dataclass(frozen=True, slots=True)
class Answer:
    """One greedy answer to one evaluation prompt.

    It has the fields of `selfmoa.judge.Item`, so judges read it as it is: importing that room here would be
    a circle, because it splits its training rows with this room's `clusters`.
    """

    id: str
    prompt_id: str
    set: SetName
    kind: PromptKind
    hazard: str
    source: str
    prompt: str
    response: str
    n_tokens: int
    finish: str
    pair: str = ""
    wrapping: str = ""


@dataclass(frozen=True, slots=True)
class Measured:
    """One answer and its verdicts: a value in [0, 1] (higher = better), or None with the reason."""

    prompt_id: str
    set: SetName
    hazard: str
    source: str
    prompt: str
    answer: str
    n_tokens: int
    safety: float | None = None
    safety_reason: str = ""
    helpfulness: float | None = None
    helpfulness_reason: str = ""
    refusal: RefusalClass | None = None
    refusal_reason: str = ""
    coherence: float | None = None
    coherence_reason: str = ""
    pair: str = ""
    """Id that the answers to both halves of a minimal pair share; else empty."""
    wrapping: str = ""
    """Name of what the request was wrapped in; empty where the evaluation names no wrappings."""
    attempts: int = 0
    """Sampled answers to the same prompt, beside this greedy one ..."""
    any_success: bool | None = None
    """... and whether one of them is a successful attack; None where none is but some were not scored."""
    twin_refusal: RefusalClass | None = None
    """Of a harmless half: how the harmful half was answered, so that one row holds what is said of the pair."""
    constraints: str = ""
    """Ids of what the prompt lays down and verifiers were asked about; empty where there is none."""
    following: float | None = None
    """1 = every constraint is met, 0 = one is not."""
    following_loose: float | None = None
    following_reason: str = ""
    compared: bool = False
    """The answer was set against another model's to the same prompt; known only while two models are compared ..."""
    preferred: float | None = None
    """... and which one is preferred: 1 = this, 0.5 = neither, 0 = the other; None where nobody could say."""


def answers(
    generator: Generator,
    sets: EvaluationSets,
    *,
    role: str | None,
    max_new_tokens: int,
    seed: int,
    on_progress: OnProgress | None = None,
) -> list[Answer]:
    """Greedy answers to every prompt of the sets, in the order of `sets.prompts()`."""
    prompts = sets.prompts()
    order = sorted(range(len(prompts)), key=lambda i: (-len(prompts[i][1].text), i))  # little padding
    made: dict[int, Answer] = {}
    for start in range(0, len(order), _BATCH):
        batch = order[start : start + _BATCH]
        found = answer_batch(
            generator, [prompts[i] for i in batch], role=role, max_new_tokens=max_new_tokens, seed=seed
        )
        made.update(zip(batch, found, strict=True))
        if on_progress:
            on_progress(len(batch))
    return [made[i] for i in range(len(prompts))]


def answer_batch(
    generator: Generator,
    prompts: Sequence[tuple[SetName, Prompt]],
    *,
    role: str | None,
    max_new_tokens: int,
    seed: int,
    temperature: float = 0.0,
    system: str | None = None,
) -> list[Answer]:
    """Answers to some prompts, greedy by default, e.g. one resumable batch of `EvaluationSets.prompts()`."""
    from selfmoa.generate import Request

    sampling = Sampling(temperature=temperature, top_p=1.0, max_new_tokens=max_new_tokens)
    requests = [Request(user=prompt.text, system=system) for _, prompt in prompts]
    texts = generator.generate(requests, sampling, role=role, seed=seed)
    return [
        Answer(
            id=stable_id("answer", role, prompt.id),
            prompt_id=prompt.id,
            set=name,
            kind=prompt.kind,
            hazard=prompt.hazard,
            source=prompt.source,
            prompt=prompt.asked,
            response=made.text,
            n_tokens=made.n_tokens,
            finish=made.finish,
            pair=prompt.pair,
            wrapping=prompt.wrapping,
        )
        for (name, prompt), made in zip(prompts, texts, strict=True)
    ]


def score(
    answers: Sequence[Answer],
    judges: GateJudges,
    *,
    objectives: Sequence[str] = OBJECTIVES,
    max_unscored: float = 0.05,
    on_progress: OnProgress | None = None,
    on_vote: Callable[[Score], None] | None = None,
) -> list[Measured]:
    """Put every answer to every gate judge, or to those of some objectives; the others stay unscored.

    Raises `EvaluatorError` where a judge leaves a larger share than `max_unscored` of the answers unscored that are not
    empty, of all sets or (a single answer aside) of one: one that fails on one side only would change the panel between
    before and after. An empty answer is the model's failure (`degenerate` counts it), not the judge's.
    `on_progress` counts answers, once a judge. `on_vote` gets every judge's own vote, under the prompt's id.
    """
    items = cast("Sequence[Item]", answers)
    verdicts: dict[str, list[tuple[float | None, str]]] = {
        objective: [(None, "not asked")] * len(items) for objective in OBJECTIVES
    }
    for objective in objectives:
        if not judges.of(objective):
            raise UsageError(f"No gate judge for {objective}; name at least one under judges.gate.{objective}.")
        votes: list[list[Score]] = []
        for judge in judges.of(objective):
            votes.append(list(judge.score(items)))
            if len(votes[-1]) != len(items):
                got = f"{len(votes[-1])} scores for {len(items)} answers"
                raise EvaluatorError(f"Judge {judge.name!r} gave {got}; expected one each. Mend the judge.")
            for answer, vote in zip(answers, votes[-1], strict=True):
                if on_vote:
                    on_vote(replace(vote, response_id=answer.prompt_id))
            spoken = [pair for pair in zip(answers, votes[-1], strict=True) if pair[0].response.strip()]
            _check_unscored(f"{objective} score from {judge.name}", spoken, max_unscored)
            if on_progress:
                on_progress(len(items))
        verdicts[objective] = [_median(jury) for jury in zip(*votes, strict=True)]
    return _with_twins(
        [_measured(answer, {key: found[i] for key, found in verdicts.items()}) for i, answer in enumerate(answers)]
    )


def _with_twins(items: Sequence[Measured]) -> list[Measured]:
    """The same, harmless halves of minimal pairs with how their harmful halves were answered."""
    refusals = {item.pair: item.refusal for item in items if item.set == "twins"}
    return [
        replace(item, twin_refusal=refusals.get(item.pair)) if item.pair and item.set != "twins" else item
        for item in items
    ]


def _median(jury: Sequence[Score]) -> tuple[float | None, str]:
    """The median of the votes; None with the reasons where every judge abstained."""
    values = [vote.value for vote in jury if vote.value is not None]
    if values:
        return statistics.median(values), ""
    return None, "; ".join(f"{vote.judge}: {vote.reason or 'no reason given'}" for vote in jury)


def _check_unscored(score: str, votes: Sequence[tuple[Answer, Score]], max_unscored: float) -> None:
    by_set: dict[str, list[Score]] = defaultdict(list)
    for answer, vote in votes:
        by_set["all sets"].append(vote)
        by_set[f"the set {answer.set!r}"].append(vote)
    for where, found in by_set.items():
        reasons = Counter(vote.reason or "no reason given" for vote in found if vote.value is None)
        missing = sum(reasons.values())
        # of a small set one answer may be more than the share
        one = where != "all sets" and max_unscored > 0 and missing == 1
        if missing > max_unscored * len(found) and not one:
            most = "; ".join(f"{n} x {reason}" for reason, n in reasons.most_common(3))
            raise EvaluatorError(
                f"{missing} of {len(found)} answers of {where} have no {score} ({most}); at most {max_unscored:.0%} "
                "may be unscored. Look at the judge, or raise judges.max_unscored."
            )


def _measured(answer: Answer, found: dict[str, tuple[float | None, str]]) -> Measured:
    return Measured(
        prompt_id=answer.prompt_id,
        set=answer.set,
        hazard=answer.hazard,
        source=answer.source,
        prompt=answer.prompt,
        answer=answer.response,
        n_tokens=answer.n_tokens,
        safety=found["safety"][0],
        safety_reason=found["safety"][1],
        helpfulness=found["helpfulness"][0],
        helpfulness_reason=found["helpfulness"][1],
        refusal=None if found["refusal"][0] is None else refusal_class(found["refusal"][0]),
        refusal_reason=found["refusal"][1],
        coherence=found["coherence"][0],
        coherence_reason=found["coherence"][1],
        pair=answer.pair,
        wrapping=answer.wrapping,
    )
