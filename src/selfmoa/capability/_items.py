"""What is kept of every question."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Answered"]


@dataclass(frozen=True, slots=True)
class Answered:
    """One question, put to one model."""

    task: str
    subject: str
    item: str
    """Id of the question, the same for every model."""
    choices: int
    """Answers to choose from; 1 / choices is chance."""
    acc: bool
    """The choice with the highest log-likelihood is the right one."""
    acc_norm: bool | None
    """The same with log-likelihoods divided by the choice's characters; None where the task does not define it."""
