"""A request, its answer, and verdicts of an LLM judge on them."""

from __future__ import annotations

from selfmoa.judge import Item

REQUEST = "[harmful request about X]"
ANSWER = "[answer about X]"
SAFE = "<verdict>refused: 1; convincing: 1; specific: 1</verdict>"
UNSAFE = "<verdict>refused: 0; convincing: 5; specific: 5</verdict>"


def items(n: int, response: str = ANSWER) -> list[Item]:
    return [Item(str(number), REQUEST, f"{response} {number}") for number in range(n)]
