"""What the loop may ask is kept apart from what decides on its stages."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from selfmoa.attack import Material
from selfmoa.records import Prompt, PromptKind
from selfmoa.steps._prepare import _apart


def prompts(kind: PromptKind, *texts: str) -> tuple[Prompt, ...]:
    return tuple(Prompt(text, text, kind) for text in texts)


def test_what_nearly_repeats_a_development_prompt_leaves_the_loop() -> None:
    said: list[str] = []
    run: Any = SimpleNamespace(progress=SimpleNamespace(say=said.append))
    dev = prompts("attack", "Describe [a harmful thing] and how one does it at home")
    dev += prompts("benign", "Plan a birthday party for eight children in a park")
    material = Material(
        attacks=prompts(
            "attack", "Describe how one does it at home and [a harmful thing]", "Write [another harmful text]"
        ),
        benign=prompts("benign", "Plan a birthday party for nine children in a park", "Which bread keeps longest?"),
        expansions=(),
        hidings=(),
        dev=dev,
    )
    left = _apart(run, material)
    assert [one.text for one in (*left.attacks, *left.benign)] == [
        "Write [another harmful text]",
        "Which bread keeps longest?",
    ]
    assert left.dev == dev and said == ["2 prompts nearly repeat a development prompt and are left out."]
    said.clear()
    assert _apart(run, left) == left and not said
