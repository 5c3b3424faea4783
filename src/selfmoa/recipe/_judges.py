"""Who scores, and how answers become pairs."""

from __future__ import annotations

import os.path
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from selfmoa.recipe._base import Judge, JudgeRef, Section, Share

__all__ = ["JudgeSide", "Judges", "Prefer", "TrainSide", "model_read", "same_model"]

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]*$", max_length=40)]
_TAKEN = ("safety", "helpfulness", "refusal", "coherence", "preference")
"""Names that mean something else already."""


def model_read(ref: JudgeRef) -> str | None:
    """The model that a judge reads, however it is written: at the reference, or in the options of an endpoint."""
    if ref.model:
        return same_model(ref.model)
    return f"{ref.options.get('base_url', '')} {ref.options['model']}" if "model" in ref.options else None


def same_model(ref: str) -> str:
    """One name for one model: a hub's without its revision, a path without detours."""
    scheme, _, place = ref.partition(":")
    return f"{scheme}:{place.partition('@')[0] if scheme == 'hub' else os.path.normpath(os.path.expanduser(place))}"


def _names(refs: tuple[JudgeRef, ...]) -> set[str]:
    return {ref.name for ref in refs} | {model for ref in refs if (model := model_read(ref))}


class JudgeSide(Section):
    """The judges of one side."""

    safety: tuple[Judge, ...] = Field(description="Jury; the median of the votes counts.")
    helpfulness: tuple[Judge, ...] = Field(description="Jury; the median of the votes counts.")
    refusal: Judge = Field(description="Refusal detector in three classes.")
    coherence: Judge = Field(description="Fluency and repetition.")

    @model_validator(mode="after")
    def _names_are_distinct(self) -> Self:
        """Votes, fitted maps and tables go by the name; one judge may serve two objectives."""
        for name, jury in (("safety", self.safety), ("helpfulness", self.helpfulness)):
            twice = [judge for judge, n in Counter(ref.name for ref in jury).items() if n > 1]
            if twice:
                raise ValueError(f"{twice[0]!r} stands twice in the jury for {name}: its votes would be taken for one.")
        known: dict[str, JudgeRef] = {}
        for ref in self.refs():
            if known.setdefault(ref.name, ref) != ref:
                raise ValueError(f"{ref.name!r} names two judges of one side; one name is one judge.")
        return self

    def refs(self) -> tuple[JudgeRef, ...]:
        """Every judge of this side."""
        return (*self.safety, *self.helpfulness, self.refusal, self.coherence)

    def names(self) -> set[str]:
        """Names and models in use on this side."""
        return _names(self.refs())

    def mapped(self, change: Callable[[JudgeRef], JudgeRef]) -> Self:
        """A copy with every judge changed."""
        return self.model_copy(
            update={
                "safety": tuple(map(change, self.safety)),
                "helpfulness": tuple(map(change, self.helpfulness)),
                "refusal": change(self.refusal),
                "coherence": change(self.coherence),
            }
        )


class TrainSide(JudgeSide):
    """The judges that steer the loop; they may score further objectives."""

    objectives: dict[Name, tuple[Judge, ...]] = Field(
        default_factory=dict,
        description="Further objectives by name, e.g. brevity: [brevity]; each with a jury whose median counts. They "
        "enter pareto pairs, and the loss where train.objectives names them. [us]",
    )

    def refs(self) -> tuple[JudgeRef, ...]:
        """Every judge of this side, those of further objectives last."""
        return (*super().refs(), *(ref for jury in self.objectives.values() for ref in jury))

    def mapped(self, change: Callable[[JudgeRef], JudgeRef]) -> Self:
        """A copy with every judge changed."""
        further = {name: tuple(map(change, jury)) for name, jury in self.objectives.items()}
        return super().mapped(change).model_copy(update={"objectives": further})

    @model_validator(mode="after")
    def _objectives_can_be_scored(self) -> TrainSide:
        for name, jury in self.objectives.items():
            if name in _TAKEN:
                raise ValueError(
                    f"judges.train.objectives names {name!r}, which exists already. Give it another name; the loss can "
                    "use safety, helpfulness and coherence as they are."
                )
            if not jury:
                raise ValueError(f"judges.train.objectives.{name} has no judge; name one or leave the objective out.")
        return self


def _as_train(value: Any) -> Any:
    """Any side may train; it then has no further objectives."""
    return dict(value) if type(value) is JudgeSide else value


class Judges(Section):
    """Who scores. Training judges never grade (docs/method.md, Who judges)."""

    train: Annotated[TrainSide, BeforeValidator(_as_train)] = TrainSide(
        safety=(JudgeRef(name="lm-state"), JudgeRef(name="tfidf")),
        helpfulness=(JudgeRef(name="relevance"),),
        refusal=JudgeRef(name="refusal-rules"),
        coherence=JudgeRef(name="coherence"),
    )
    gate: JudgeSide = JudgeSide(
        safety=(JudgeRef(name="minilm"),),
        helpfulness=(JudgeRef(name="minilm-relevance"),),
        refusal=JudgeRef(name="refusal-head"),
        coherence=JudgeRef(name="degeneration"),
    )
    watch: tuple[Judge, ...] = Field(
        (JudgeRef(name="minilm-watch"),),
        description="Safety judges that neither train nor grade: they tell over-optimisation. [us]",
    )
    jury: Literal["median", "worst", "dawid_skene"] = Field(
        "median", description="How the training side's safety votes on one answer become one value. [us]"
    )
    max_unscored: Share = Field(0.05, description="A scoring step with a larger share fails. [us]")
    batch_size: int = Field(32, ge=1, description="Items scored at once. [us]")
    floor: Share = Field(0.6, description="Least AUC on a judge's card; below it a run is refused. [us]")
    max_flip_rate: Share = Field(0.3, description="Verdicts that an apology or disclaimer may flip at the most. [us]")
    allow_below_floor: tuple[str, ...] = Field((), description="Judges used whatever their cards say. [us]")

    def names(self) -> set[str]:
        """Names and models of every judge."""
        return self.train.names() | self.gate.names() | _names(self.watch)

    @model_validator(mode="after")
    def _sides_differ(self) -> Judges:
        both = sorted(self.train.names() & self.gate.names())
        if both:
            raise ValueError(
                f"judge {both[0]!r} stands on both sides; a training judge never grades. "
                "Name another judge under judges.gate or judges.train."
            )
        busy = sorted(_names(self.watch) & (self.train.names() | self.gate.names()))
        if busy:
            raise ValueError(
                f"judge {busy[0]!r} watches, and trains or grades as well; a watch judge does neither. "
                "Name another under judges.watch, or none (watch: [])."
            )
        return self

    @model_validator(mode="after")
    def _jury_is_large_enough(self) -> Judges:
        if self.jury == "dawid_skene" and len(self.train.safety) < 3:
            raise ValueError(
                f"judges.jury 'dawid_skene' needs at least 3 judges in judges.train.safety, got "
                f"{len(self.train.safety)}: two votes alone do not tell who is wrong. Add judges, or use median."
            )
        return self


class Prefer(Section):
    """How answers become pairs (paper, Algorithm 2; docs/method.md, Pairs)."""

    pairing: Literal["paper", "safe_first", "pareto"] = Field(
        "safe_first",
        description="Pairing rule; pareto: chosen is at least as good on every objective. [P] / [us]",
    )
    std_min: Share = Field(0.01, description="paper: prompts with less spread teach nothing. [P]")
    delta_min: Share = Field(0.1, description="Gain on an objective that makes a pair; pareto: on at least one. [P]")
    safe_min: Share = Field(0.6, description="safe_first: an answer is safe at or above ... [us]")
    safe_min_undeclined: Share = Field(
        0.9, description="safe_first: ... but an answer that does not decline an attack needs this. [us]"
    )
    unsafe_max: Share = Field(0.4, description="safe_first: ... and unsafe at or below. [us]")
    unsafe_max_undeclined: Share = Field(
        0.4, description="safe_first: ... but an answer that complies with an attack is unsafe at or below this. [us]"
    )
    coherence_min: Share = Field(0.5, description="safe_first, pareto: chosen must reach this coherence. [us]")
    worst_of_jury: bool = Field(
        True, description="safe_first: a pair's safety margin is that of the judge who sees the least of it. [us]"
    )
    perturbations: tuple[str, ...] = Field(
        ("apology before", "disclaimer after"),
        description="safe_first: changes that must not turn a pair's order; pairs that they turn are dropped. [us]",
    )
    max_guided_share: Share = Field(0.5, description="Guided-against-unguided pairs at the most. [us]")
    max_harmless_share: Share = Field(
        0.6, description="safe_first, pareto: pairs of harmless prompts at the most. [us]"
    )
    learnable_first: bool = Field(
        False,
        description="Where a share or loop.max_pairs leaves pairs out, those of prompts whose own answers were neither "
        "all safe (answered) nor all unsafe (declined) stay. [us]",
    )
    max_pairs_per_prompt: int = Field(2, ge=1, description="safe_first, pareto: pairs a prompt gives. [us]")
    max_similarity: Share = Field(0.9, description="Pairs more alike are dropped. [us]")
    max_length_ratio: float = Field(4.0, ge=1, description="Longer over shorter answer, in words. [us]")

    @model_validator(mode="after")
    def _thresholds(self) -> Prefer:
        for low, high in (("unsafe_max", "safe_min"), ("unsafe_max_undeclined", "safe_min_undeclined")):
            below, above = getattr(self, low), getattr(self, high)
            if below >= above:
                raise ValueError(f"prefer.{low} ({below}) must be below prefer.{high} ({above}).")
        return self
