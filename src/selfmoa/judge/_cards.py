"""What is known about a judge, measured: how often it is wrong, and where not to trust it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from selfmoa.errors import UsageError, nearest
from selfmoa.judge._protocol import EvaluatorContext, Objective
from selfmoa.judge._refusal_head import REFUSAL_LIMITS, trained_refusal_head
from selfmoa.judge._registry import known
from selfmoa.judge._safety import SAFETY_HEADS, trained_safety_head

__all__ = ["JudgeCard", "card", "train_heads"]

Figure = dict[str, float]

_UNTRAINED: dict[str, tuple[Objective, bool, str]] = {
    "refusal-rules": ("refusal", False, "Patterns of English; subtle refusals and moral comments are missed."),
    "relevance": (
        "helpfulness",
        True,
        "A proxy: how much the prompt explains the answer under the target's own base. Says nothing about truth.",
    ),
    "minilm-relevance": (
        "helpfulness",
        False,
        "A proxy: similarity of prompt and answer. Says nothing about truth; copying is penalised.",
    ),
    "coherence": ("coherence", True, "Likelihood under the target's own base; unusual but good text scores low."),
    "degeneration": ("coherence", False, "Sees repetition and symbols only; fluent nonsense passes."),
}


@dataclass(frozen=True, slots=True)
class JudgeCard:
    """A judge's measured card. Figures are {value, low, high} with 95 % intervals; None where nothing was measured."""

    name: str
    objective: Objective
    trained: bool
    shares_base: bool
    limits: str
    side: str = ""
    n: int | None = None
    n_objectives: int | None = None
    removed: int = 0
    """Rows left out because their objective touches an evaluation or development prompt."""
    auc: Figure | None = None
    accuracy: Figure | None = None
    baseline_auc: Figure | None = None
    """A bag of words on the same rows and folds."""
    swapped_auc: Figure | None = None
    """On held-out answers that got an opener of the opposite kind, labels kept."""
    swapped_accuracy: Figure | None = None
    swapped_n: int | None = None
    representation: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"{self.name} ({self.objective}{', ' + self.side + ' side' if self.side else ''})"]
        if self.n is not None:
            lines.append(
                f"  human-scored answers    {self.n} over {self.n_objectives} objectives, {self.removed} left out"
            )
        for label, figure in (
            ("AUC", self.auc),
            ("accuracy", self.accuracy),
            ("AUC of a bag of words", self.baseline_auc),
            ("AUC, openers swapped", self.swapped_auc),
            ("accuracy, swapped", self.swapped_accuracy),
        ):
            if figure is not None:
                lines.append(f"  {label:<23} {figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})")
        if self.n is not None:
            lines.append("  cross-validated by objective; intervals are 95 %, bootstrapped by objective")
        else:
            lines.append("  not trained and not measured on the human-scored answers")
        lines.append(f"  shares its base with the target: {'yes' if self.shares_base else 'no'}")
        lines.append(f"  limits: {self.limits}")
        return "\n".join(lines)


def card(name: str, context: EvaluatorContext) -> JudgeCard:
    """The card of a judge; trains its head if it is not in the cache. Raises `UsageError` for an unknown name."""
    if name in SAFETY_HEADS:
        spec = SAFETY_HEADS[name]
        facts = trained_safety_head(spec, context)[1]
        return _measured(name, "safety", spec.side, spec.limits, facts, shares_base=spec.shares_base)
    if name == "refusal-head":
        facts = trained_refusal_head(context)[1]
        return _measured(name, "refusal", "gate", REFUSAL_LIMITS, facts, shares_base=False)
    if name in _UNTRAINED:
        objective, shares_base, limits = _UNTRAINED[name]
        return JudgeCard(name, objective, trained=False, shares_base=shares_base, limits=limits)
    if name in known():
        raise UsageError(f"Judge {name!r} is an outside model; no card was measured for it here.")
    raise UsageError(f"There is no judge {name!r}.{nearest(name, known())}")


def train_heads(context: EvaluatorContext) -> dict[str, str]:
    """Train every embedded head (or read it from the cache): name -> its figures in one line.

    Without a resident model, heads that read one are left out.
    """
    names = [name for name, spec in SAFETY_HEADS.items() if context.model is not None or not spec.shares_base]
    lines = {}
    for name in [*names, "refusal-head"]:
        found = card(name, context)
        auc = found.auc or {}
        lines[name] = f"{found.n} answers, AUC {auc['value']:.3f} ({auc['low']:.3f} to {auc['high']:.3f})"
    return lines


def _measured(
    name: str, objective: Objective, side: str, limits: str, facts: dict[str, Any], *, shares_base: bool
) -> JudgeCard:
    figures = {
        key: facts.get(key)
        for key in (
            "n",
            "n_objectives",
            "auc",
            "accuracy",
            "baseline_auc",
            "swapped_auc",
            "swapped_accuracy",
            "swapped_n",
        )
    }
    return JudgeCard(
        name,
        objective,
        trained=True,
        shares_base=shares_base,
        limits=limits,
        side=side,
        removed=int(facts.get("removed", 0)),
        representation=str(facts.get("representation", "")),
        **figures,
    )
