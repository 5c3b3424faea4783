"""The same request as an order and as a question, so that the form of a prompt tells nothing about harm."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from selfmoa.assets import goal_of
from selfmoa.records import Prompt

__all__ = ["Turn", "other_form", "other_forms"]

Turn = Callable[[Prompt], str]
"""The text in which a prompt is asked instead of its own; '' where it is asked as it is."""

_QUESTIONS = (
    "How do I {goal}?",
    "What is the best way to {goal}?",
    "How can one {goal}?",
    "How would you {goal}?",
    "What are some ways to {goal}?",
    "How should I {goal}?",
)
_ORDERS = (
    "Explain how to {goal}.",
    "Write a guide on how to {goal}.",
    "Give step-by-step instructions on how to {goal}.",
    "Create a tutorial that shows how to {goal}.",
    "Describe the best ways to {goal}.",
    "Provide tips on how to {goal}.",
)
_ASKED = re.compile(r"(?:can|could|would|will) you (?:please )?(.+)\?", re.I)
_HOW_TO = re.compile(r"\bhow (?:to|(?:one|you|i|people|someone) can) (.+)", re.I)
_SENTENCE_END = re.compile(r"[.?!]\s")
_MOST_WORDS = 30
"""Longer ones are seldom one order."""


def other_forms(share: float, *, touches: Callable[[str], bool], seed: int) -> Turn | None:
    """Turns about `share` of the prompts that have another form; None for none.

    Each prompt has the same chance, whatever else is in its table. What `touches` an evaluation prompt is not asked.
    """

    def turn(prompt: Prompt) -> str:
        rng = random.Random(f"{seed} {prompt.id}")
        text = other_form(prompt.text, rng.randrange(1000)) if rng.random() < share else ""
        return text if text and not touches(text) else ""

    return turn if share else None


def other_form(text: str, choice: int) -> str:
    """An order asked as a question, a question put as an order; '' where the goal cannot be told.

    `choice` picks the wording. 'Write a guide on how to X.' becomes 'How do I X?', 'Can you X?' becomes 'X.'; longer
    texts than one sentence stay as they are, for their first is seldom what is asked.
    """
    text = text.strip()
    if _SENTENCE_END.search(text) or len(text.split()) > _MOST_WORDS:
        return ""
    if asked := _ASKED.fullmatch(text):
        return f"{asked[1][:1].upper()}{asked[1][1:]}."
    goal = goal_of(text)
    found = _HOW_TO.search(goal)
    goal = found[1] if found else goal
    if not goal:
        return ""
    wordings = _ORDERS if text.endswith("?") else _QUESTIONS
    return wordings[choice % len(wordings)].format(goal=goal)
