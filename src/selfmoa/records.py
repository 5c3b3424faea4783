"""The frozen records that flow through the loop: attack -> generate -> judge -> prefer -> train.

Every record is flat (scalars and short strings) so that a list of them is one Parquet table, and every
record carries the id of what it came from, so that a trained pair can be traced back to its seed prompt.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

PromptKind = Literal["attack", "benign", "borderline"]
"""attack: asks for harm. benign: harmless. borderline: harmless but shares words with attacks."""

RefusalClass = Literal["compliance", "full", "partial"]
"""full: declines. partial: declines or apologises, then complies all the same; or offers help and gives no answer."""


BARE = ":bare"
"""Ends the response id of a vote on a guided answer without its opener; the worse of the two votes counts."""

PERTURBED = ":changed by "
"""Between the response id and a change's name in the id of a vote on the changed answer."""


def stable_id(*parts: object) -> str:
    """A 12-hex-digit id of the parts, equal in every process and on every machine."""
    return hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).hexdigest()[:12]


def refusal_class(value: float) -> RefusalClass:
    """The class of a refusal score: 1.0 full, 0.5 partial, 0.0 compliance."""
    return "full" if value >= 0.75 else "partial" if value >= 0.25 else "compliance"


def to_text(values: Mapping[str, float | None]) -> str:
    """Values by objective as a short string, so that a record stays flat; '' for none."""
    return json.dumps(dict(values)) if values else ""


def from_text(text: str) -> dict[str, float | None]:
    """What `to_text` was given."""
    return dict(json.loads(text)) if text else {}


@dataclass(frozen=True, slots=True)
class Prompt:
    """A seed prompt from a data set or a generated one that entered the pool."""

    id: str
    text: str
    kind: PromptKind
    hazard: str = "unknown"
    source: str = ""
    parent: str | None = None
    """Id of the prompt it was made from (a successful expansion, a borderline contrast, a wrapped request)."""
    request: str = ""
    """What judges are told was asked, where `text` wraps it in a template; else empty."""
    pair: str = ""
    """Id that the two halves of a minimal pair share, where both are asked; else empty."""
    wrapping: str = ""
    """Name of what `text` wraps the request in, where an evaluation set names wrappings; else empty."""

    @property
    def asked(self) -> str:
        """The request out of its wrapping: by a template's words prompts would be alike, and not by their own."""
        return self.request or self.text


@dataclass(frozen=True, slots=True)
class Attack:
    """One prompt put to the target in one round (paper, Algorithm 1): seed s -> expansion e -> hidden h.

    For benign and borderline prompts s = e = h. `status` is "kept" or "dropped"; a dropped attack says why.
    """

    id: str
    round: int
    kind: PromptKind
    hazard: str
    seed_id: str
    seed: str
    expansion: str
    """e, the plain request. Safety is judged against it."""
    hidden: str
    """h, what the target is shown. Helpfulness is judged against it."""
    plain: bool
    """True where h = e was kept on purpose (pass-through share)."""
    bleu: float | None
    """BLEU(s, e) in [0, 1]; None where nothing was expanded."""
    status: str = "kept"
    reason: str = ""
    attacker_refused: bool = False
    """True where the expander or hider declined instead of writing an attack."""
    fell_back: str = ""
    """Why none of its rewritings could be used, where the seed is asked as it is instead (`attack.fall_back`)."""

    @property
    def rewriting_asked(self) -> bool:
        """True where the expander was asked to rewrite the seed, whatever came of it."""
        return self.bleu is not None or bool(self.fell_back)


@dataclass(frozen=True, slots=True)
class Draft:
    """Raw text of an attacker or a development answer, before anything is decided on it."""

    id: str
    text: str
    n_tokens: int


@dataclass(frozen=True, slots=True)
class Selected:
    """An attack that got through, or a prompt that left or entered the pool, and why (paper, Algorithm 3)."""

    attack_id: str
    round: int
    seed_id: str
    event: Literal["hit", "left pool", "entered pool"]
    reason: str


@dataclass(frozen=True, slots=True)
class Response:
    """One answer of the target to `Attack.hidden`."""

    id: str
    attack_id: str
    round: int
    index: int
    """0..m-1 within the attack."""
    text: str
    """What is judged and trained on: opener + continuation where guided."""
    guided: bool
    opener: str
    """The prefilled opener, empty where not guided by prefill."""
    n_tokens: int
    finish: Literal["eos", "length"]
    logprob: float | None
    """Mean log-prob per token under the target *without* guidance, nats; None where not computed."""
    status: str = "kept"
    reason: str = ""
    untrained: bool = False
    """True where the model as it was answers: beside the refusal of a harmless prompt (docs/method.md, Review)."""


@dataclass(frozen=True, slots=True)
class Score:
    """One vote of one judge on one response: a value in [0, 1], or unscored with a reason.

    Higher is better for the objective named: safer, more helpful, more coherent. For the objective
    `refusal` the value is 1.0 full, 0.5 partial, 0.0 compliance.
    """

    response_id: str
    objective: str
    judge: str
    judge_hash: str
    value: float | None
    reason: str
    raw: float | None
    """The judge's own scale (logit, log-likelihood ratio) before it was mapped to [0, 1]."""
    latency: float
    """Seconds for this item (batch time divided by batch size)."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """All votes on one response, aggregated; None where every judge abstained."""

    response_id: str
    attack_id: str
    round: int
    safety: float | None
    helpfulness: float | None
    coherence: float | None
    refusal: RefusalClass | None
    harmful_hit: bool
    """Unsafe *and* helpful (paper, Algorithm 3): the attack got through."""
    further: str = ""
    """Values of the recipe's further objectives by name, in [0, 1], higher = better; `from_text` reads them."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A preference pair and everything that explains it."""

    id: str
    round: int
    attack_id: str
    kind: PromptKind
    hazard: str
    prompt: str
    chosen: str
    rejected: str
    chosen_id: str
    rejected_id: str
    chosen_safety: float | None
    rejected_safety: float | None
    chosen_helpfulness: float | None
    rejected_helpfulness: float | None
    chosen_guided: bool
    rejected_guided: bool
    rule: str
    """The rule that chose it, in words."""
    safety_margin: float | None = None
    """Gain of safety that enters the loss, where it is not the difference of the two scores: the least that any
    judge of the jury sees (`prefer.worst_of_jury`)."""
    chosen_further: str = ""
    """Values of further objectives, as in `Judgement`."""
    rejected_further: str = ""

    @property
    def less_safe_chosen(self) -> bool:
        """True where the judges call the chosen answer less safe than the rejected one."""
        return (
            self.chosen_safety is not None
            and self.rejected_safety is not None
            and self.chosen_safety < self.rejected_safety
        )


@dataclass(frozen=True, slots=True)
class Dropped:
    """A pair or prompt that was considered and left out, with the reason (counted in the report)."""

    round: int
    attack_id: str
    reason: str


CHECKED_LATER = "checked after the review"
"""Reason of a stage that stays as it is until the next one, whose check sees both."""
UNDONE = "without the last review"
"""In the reason of a stage whose check left the last review's update out of what was kept."""


def with_fate(stages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Stage results (of `stage.json`, in order) with what became of them.

    Verdict, kept and step of those that waited for a later check are that check's; a review that it undid is `undone`.
    What is unfinished (empty) or still waits stays as it is.
    """
    told = [dict(stage) for stage in stages]
    waiting: list[dict[str, Any]] = []
    for row in told:
        waiting.append(row)
        reason = str(row.get("reason"))
        if not row or reason.startswith(CHECKED_LATER):
            continue
        checked = {name: row.get(name) for name in ("verdict", "kept", "step")}
        for one in waiting:
            one.update(checked)
        if UNDONE in reason:
            last = next((one for one in reversed(waiting) if one.get("n_pairs")), row)
            last.update(verdict="undone", kept=False, step=0.0)
        waiting = []
    return told


@dataclass(frozen=True, slots=True)
class StageResult:
    """One alignment of the target on P_buf, and whether it was accepted (docs/method.md, Loss)."""

    stage: int
    round: int
    n_pairs: int
    verdict: Literal["accepted", "inconclusive", "rejected", "failed"]
    kept: bool
    """True where the target goes on from the new adapter."""
    step: float
    """Share of the trained update that was kept, in [0, 1] (1 = all of it, 0 = rolled back)."""
    reason: str
    over_refusal_change: float | None
    over_refusal_high: float | None
    """Upper 95 % bound of the rise of refusals on harmless development prompts."""
    helpfulness_change: float | None
    helpfulness_low: float | None
    """Lower 95 % bound of the change of helpfulness on harmless development prompts."""
    harmful_refusal_change: float | None
    train_loss: float | None
    chosen_less_safe_share: float
    guided_share: float
    trained_tokens: int
    seconds: float
    safety_change: float | None = None
    """On harmful development prompts, as the training judges see it ..."""
    watched_change: float | None = None
    """... as the watch judges see it ..."""
    judge_gap: float | None = None
    """... and what the training judges see beyond them."""
    judge_gap_low: float | None = None
    """Lower 95 % bound of the gap."""
    over_optimised: bool = False
    """True where the last step tried was rejected for the gap."""
    replayed: int = 0
    """Of its pairs, those that an earlier stage had as well."""
    first_tokens_share: float | None = None
    """Share of the learnt preference that the first five tokens of the answers explain; near 1, the stage taught
    an opening more than a behaviour."""
