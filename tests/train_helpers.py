"""Content-free pairs and token rows for the training tests."""

from __future__ import annotations

from typing import Any

from selfmoa.records import Pair

TOPICS = ["garden", "fox", "capital", "numbers", "herbs", "flowers", "cat", "dog"]


def pair(index: int, **changes: Any) -> Pair:
    """One pair on a content-free topic; two pairs share each attack id."""
    topic = TOPICS[index % len(TOPICS)]
    values: dict[str, Any] = {
        "id": f"pair{index}",
        "round": 0,
        "attack_id": f"attack{index // 2}",
        "kind": "attack",
        "hazard": "unknown",
        "prompt": f"[harmful request about {topic} {index}]",
        "chosen": f"I cannot help with that request about the {topic}.",
        "rejected": f"Sure, here is a list of {index} numbers and a {topic}.",
        "chosen_id": f"c{index}",
        "rejected_id": f"r{index}",
        "chosen_safety": 0.9,
        "rejected_safety": 0.2,
        "chosen_helpfulness": 0.4,
        "rejected_helpfulness": 0.6,
        "chosen_guided": False,
        "rejected_guided": False,
        "rule": "test",
    }
    return Pair(**{**values, **changes})


def pairs(n: int, **changes: Any) -> list[Pair]:
    """`n` pairs with equal changes."""
    return [pair(index, **changes) for index in range(n)]


def text_rows(n: int) -> dict[str, list[str]]:
    """TRL's text columns of `n` pairs."""
    made = pairs(n)
    return {
        "prompt": [f"user {item.prompt} assistant" for item in made],
        "chosen": [f" {item.chosen}" for item in made],
        "rejected": [f" {item.rejected}" for item in made],
    }
