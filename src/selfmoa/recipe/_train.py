"""How the target is aligned, and when a stage is kept."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from selfmoa.recipe._base import Section, Share

__all__ = ["SHIFT_SAFE_LOSSES", "Loop", "Lora", "Objective", "PairTable", "Stage", "Train"]

SHIFT_SAFE_LOSSES = ("sigmoid", "robust", "sft")
"""DPO losses for which adding the margins to the reference log-probs is exact (docs/method.md, Loss)."""


class Lora(Section):
    """Adapter shape (paper, section on training)."""

    r: int = Field(64, ge=1, le=1024, description="Rank. [P]")
    alpha: int = Field(128, ge=1, description="Scaling numerator (scale = alpha / r). [P]")
    dropout: Share = Field(0.05, description="Dropout on the adapter's input. [P]")
    target_modules: tuple[str, ...] = Field(
        ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        description="Layers that get an adapter. [P]",
    )


class Objective(Section):
    """Weight of one further objective in the loss."""

    name: str = Field(
        "safety", description="safety, helpfulness, coherence or a name of judges.train.objectives. [P: safety]"
    )
    weight: float = Field(0.99, ge=0, description="w_i. [P: 0.99 for safety]")


class PairTable(Section):
    """Two answers to each prompt, and which of them people found better and safer."""

    ref: str = Field(description="path:FILE, data:FILE (below SELFMOA_DATA) or hub:OWNER/NAME@REVISION.")
    prompt: str = Field("prompt", description="Column with the prompt. [us]")
    answers: tuple[str, str] = Field(("chosen", "rejected"), description="Columns with answer 0 and answer 1. [us]")
    better: str | None = Field(None, description="Column with 0 or 1, the better answer; none = always answer 0. [us]")
    safer: str | None = Field(None, description="Column with 0 or 1, the safer answer; none = the better one. [us]")
    transcripts: bool = Field(
        False,
        description="The answers are whole conversations (Human: ... Assistant: ...) without a column of prompts; "
        "those of one turn are used. [us]",
    )
    where: dict[str, str] = Field(default_factory=dict, description="Column -> value that a row must have. [us]")


class Train(Section):
    """Alignment of the target (docs/method.md, Loss)."""

    loss: Literal["self_moa", "modpo_paper_eq1", "modpo", "dpo", "scaled"] = Field(
        "self_moa", description="Loss preset. [P: self_moa, eq. 2]"
    )
    loss_type: tuple[str, ...] = Field(("sigmoid",), description="TRL loss types; an SFT term is 'sft'. [us]")
    label_smoothing: Annotated[float, Field(ge=0.0, lt=0.5)] | Literal["measured"] = Field(
        0.0,
        description="robust: share of pairs ordered wrongly; 'measured' = the stage's flip rate under "
        "prefer.perturbations. TRL's sigmoid ignores it. [us]",
    )
    loss_weights: tuple[float, ...] = Field((1.0,), description="One weight a loss type. [us]")
    f_divergence: Literal["reverse_kl"] = Field("reverse_kl", description="The shift is exact for this one only. [us]")
    beta: float = Field(0.1, gt=0, le=100, description="KL strength. [M; the paper gives none]")
    w0: float = Field(0.01, gt=0, le=1, description="Weight of helpfulness, the preference objective. [P]")
    objectives: tuple[Objective, ...] = Field(
        (Objective(),), description="The other objectives, each by name (see judges.train.objectives) with its weight."
    )
    pairs: PairTable | None = Field(
        None, description="Preferences of people to train on instead of the loop's pairs (a baseline). [us]"
    )
    a: float | None = Field(None, gt=0, description="scaled: factor of the log-ratio. [us]")
    b: tuple[float, ...] | None = Field(None, description="scaled: factor of each objective. [us]")
    align_at: int = Field(1000, ge=2, description="q: preference pairs that trigger a stage. [P]")
    reference: Literal["previous_stage", "base"] = Field(
        "previous_stage", description="Reference policy of the log-ratios. [us]"
    )
    continue_adapter: bool = Field(True, description="A stage goes on from M's adapter. [us]")
    lr: float = Field(3e-5, gt=0, le=1, description="Learning rate. [P]")
    epochs: float = Field(10, gt=0, le=100, description="Passes over the pairs. [P]")
    batch_size: int = Field(4, ge=1, description="Pairs an optimiser step. [P]")
    micro_batch_size: int = Field(4, ge=1, description="Pairs in memory at once. [us]")
    max_length: int = Field(512, ge=16, description="Tokens of prompt + answer. [P]")
    answer_tokens: int | None = Field(
        None,
        ge=1,
        description="Tokens of each answer that are trained on, from its first; None = all. Whether a model declines "
        "is decided in its first words, and what follows drowns them. [us]",
    )
    warmup_steps: int = Field(3, ge=0, description="Steps. [P]")
    validation_fraction: float = Field(0.1, ge=0, lt=1, description="Held out; the best epoch is kept. [P]")

    @model_validator(mode="after")
    def _loss_is_exact(self) -> Train:
        wrong = [name for name in self.loss_type if name not in SHIFT_SAFE_LOSSES]
        if wrong:
            raise ValueError(
                f"train.loss_type {wrong[0]!r} cannot carry margins: shifting the reference log-probs is exact "
                f"only for {', '.join(SHIFT_SAFE_LOSSES)}."
            )
        if len({"sigmoid", "robust"} & set(self.loss_type)) != 1:
            raise ValueError("train.loss_type must contain one preference loss, 'sigmoid' or 'robust'.")
        if self.label_smoothing and "robust" not in self.loss_type:
            raise ValueError(
                f"train.label_smoothing {self.label_smoothing!r} needs train.loss_type 'robust'; 'sigmoid' ignores it."
            )
        if len(self.loss_type) != len(self.loss_weights):
            raise ValueError("train.loss_weights needs one weight for each train.loss_type.")
        twice = {one.name for one in self.objectives if sum(one.name == other.name for other in self.objectives) > 1}
        if twice:
            raise ValueError(f"train.objectives names {', '.join(sorted(twice))} more than once; add the weights up.")
        scaled = self.loss == "scaled"
        if scaled and (self.a is None or self.b is None or len(self.b) != len(self.objectives)):
            raise ValueError("train.loss 'scaled' needs train.a and one train.b for each objective.")
        if not scaled and (self.a is not None or self.b is not None):
            raise ValueError(f"train.a and train.b belong to loss 'scaled', not {self.loss!r}.")
        if self.micro_batch_size > self.batch_size or self.batch_size % self.micro_batch_size:
            raise ValueError("train.batch_size must be a multiple of train.micro_batch_size.")
        return self

    def coefficients(self) -> tuple[float, tuple[float, ...]]:
        """(a, b_i) of the loss -log sigma(a * d logratio - sum_i b_i * d r_i) (docs/method.md, Loss)."""
        weights = tuple(objective.weight for objective in self.objectives)
        if self.loss == "scaled":
            assert self.a is not None and self.b is not None
            return self.a, self.b
        if self.loss == "dpo":
            return self.beta, tuple(0.0 for _ in weights)
        if self.loss == "self_moa":
            return self.beta, tuple(self.beta * weight for weight in weights)
        if self.loss == "modpo":
            return self.beta / self.w0, tuple(weight / self.w0 for weight in weights)
        return self.beta / self.w0, tuple(self.beta * weight / self.w0 for weight in weights)


class Stage(Section):
    """When a stage is accepted (docs/method.md, How much of a stage is kept)."""

    check: bool = Field(True, description="False = every stage is kept (the paper). [us]")
    n_harmless: int = Field(72, ge=0, description="Harmless development prompts. [us]")
    n_harmful: int = Field(32, ge=0, description="Harmful development prompts. [us]")
    max_new_tokens: int = Field(32, ge=4, description="Tokens of a development answer. [us]")
    tolerance: Share = Field(0.1, description="Largest loss of helpfulness or rise of over-refusal. [us]")
    source_tolerance: Share = Field(
        0.1,
        description="Largest loss of helpfulness on the harmless development prompts of one data set, where their 95 % "
        "interval shows a loss at all: a model that gives up one kind of task may well look harmless on average. [us]",
    )
    steps: tuple[Annotated[float, Field(gt=0.0, le=1.0)], ...] = Field(
        (1.0, 0.7, 0.45), min_length=1, description="Shares of the update tried in turn until one is accepted. [us]"
    )
    max_judge_gap: Share = Field(
        0.2,
        description="How far the training judges' gain of safety may lie above the watch judges' on harmful "
        "development prompts: a stage whose 95 % interval lies wholly beyond is rejected (over-optimisation). [us]",
    )
    stop_on_gap: bool = Field(True, description="End the loop after a stage that was rejected for that. [us]")
    keep_inconclusive: bool = Field(True, description="Go on from a stage that n is too small to judge. [us]")


class Review(Section):
    """After the last stage: prompts not asked before that the aligned model still gets wrong make one round and stage
    more (hard-example mining), and only then is the whole update checked. Off where both numbers are 0."""

    n_harmful: int = Field(0, ge=0, description="Seed prompts not asked so far that it should decline. [us]")
    n_harmless: int = Field(0, ge=0, description="Harmless prompts not asked so far that it should answer. [us]")
    max_new_tokens: int = Field(12, ge=4, description="Tokens of the greedy answer that shows whether it does. [us]")
    lr: float | None = Field(None, gt=0, description="Learning rate of its stage; None = train.lr. [us]")
    passes: int = Field(1, ge=1, le=10, description="Times it is done, each with the model that the last left. [us]")
    keep_later: Share = Field(
        0.5,
        description="Share of a later pass's update that is kept: halfway it forgets less of what was learnt before "
        "than it gains (weights between two models, WiSE-FT, arXiv 2109.01903). [us]",
    )
    min_pairs: int = Field(8, ge=2, description="With fewer new pairs it trains nothing and is the last. [us]")

    @property
    def wanted(self) -> bool:
        """True where the recipe asks for a review."""
        return self.n_harmful + self.n_harmless > 0


class Loop(Section):
    """How long."""

    n_rounds: int = Field(15, ge=0, le=1000, description="Rounds; 0 = no attack, no pair of the loop's own. [P]")
    stage_at_end: bool = Field(True, description="Align on what is left in P_buf after the last round. [us]")
    min_stage_pairs: int = Field(16, ge=2, description="... if it holds at least this many pairs. [us]")
    max_pairs: int | None = Field(
        None, ge=2, description="Pairs of the whole run at the most: with them the loop ends. None = no limit. [us]"
    )

    @model_validator(mode="after")
    def _limit_leaves_a_stage(self) -> Loop:
        if self.max_pairs is not None and self.max_pairs < self.min_stage_pairs:
            raise ValueError(
                f"loop.max_pairs ({self.max_pairs}) is below loop.min_stage_pairs ({self.min_stage_pairs}): "
                "no stage could ever run."
            )
        return self
