"""What is known of the embedded judges without measuring them."""

from __future__ import annotations

from dataclasses import dataclass

from selfmoa.judge._protocol import Objective
from selfmoa.judge._refusal_head import REFUSAL_LIMITS
from selfmoa.judge._safety import SAFETY_HEADS

__all__ = ["ABOUT", "TARGET", "About"]

TARGET = "the target's own base"


@dataclass(frozen=True)
class About:
    """What is known of an embedded judge without measuring."""

    objective: Objective
    side: str
    family: str
    what: str
    licence: str
    limits: str
    shares_base: bool = False
    trained: bool = False
    kin: str = ""
    """Model inside it, whose blind spots it shares with others of the same kin."""
    holds: tuple[str, ...] = ()
    """Other judges inside this one."""


_HEAD_LICENCE = "MIT (labels)"
ABOUT: dict[str, About] = {
    "lm-state": About(
        "safety",
        "train",
        "head",
        "Logistic head on the frozen base's hidden states of request and answer.",
        f"{_HEAD_LICENCE}; that of the base",
        SAFETY_HEADS["lm-state"].limits,
        shares_base=True,
        trained=True,
        kin=TARGET,
    ),
    "tfidf": About(
        "safety",
        "train",
        "head",
        "Logistic head on groups of 2 to 5 letters of the answer.",
        _HEAD_LICENCE,
        SAFETY_HEADS["tfidf"].limits,
        trained=True,
    ),
    "minilm": About(
        "safety",
        "gate",
        "head",
        "Logistic heads on MiniLM embeddings and on the words of the answer, summed.",
        f"{_HEAD_LICENCE}; MIT (encoder)",
        SAFETY_HEADS["minilm"].limits,
        trained=True,
        kin="MiniLM",
    ),
    "minilm-watch": About(
        "safety",
        "watch",
        "head",
        "Logistic head on MiniLM embeddings of the answer, taught by the train side's objectives.",
        f"{_HEAD_LICENCE}; MIT (encoder)",
        SAFETY_HEADS["minilm-watch"].limits,
        trained=True,
        kin="MiniLM",
    ),
    "refusal-head": About(
        "refusal",
        "gate",
        "refusal",
        "Logistic head on MiniLM embeddings and words of sentences; three classes.",
        f"{_HEAD_LICENCE}; MIT (encoder)",
        REFUSAL_LIMITS,
        trained=True,
        kin="MiniLM",
    ),
    "refusal-rules": About(
        "refusal",
        "train",
        "refusal",
        "Patterns; three classes.",
        "Apache-2.0",
        "Patterns of English; subtle refusals and moral comments are missed.",
    ),
    "relevance": About(
        "helpfulness",
        "train",
        "relevance",
        "How much the request explains the answer: log-likelihood ratio under the frozen base.",
        "that of the base",
        "A proxy: how much the prompt explains the answer under the target's own base. Says nothing about truth.",
        shares_base=True,
        kin=TARGET,
    ),
    "minilm-relevance": About(
        "helpfulness",
        "gate",
        "relevance",
        "Similarity of request and answer in MiniLM's space.",
        "MIT (encoder)",
        "A proxy: similarity of prompt and answer. Says nothing about truth; copying is penalised.",
        kin="MiniLM",
        holds=("refusal-head",),
    ),
    "coherence": About(
        "coherence",
        "train",
        "fluency",
        "Mean log-likelihood of the answer under the frozen base, times model-free quality.",
        "that of the base",
        "Likelihood under the target's own base; unusual but good text scores low.",
        shares_base=True,
        kin=TARGET,
    ),
    "degeneration": About(
        "coherence",
        "gate",
        "fluency",
        "Repetition and share of word characters; no model.",
        "Apache-2.0",
        "Sees repetition and symbols only; fluent nonsense passes.",
    ),
    "brevity": About(
        "brevity",
        "train",
        "form",
        "How short the answer is, in words; no model.",
        "Apache-2.0",
        "Counts words: a bare refusal is brief as well. Use it beside helpfulness only.",
    ),
}
