"""The safety reset: a control, never a default (docs/export.md)."""

from __future__ import annotations

from pydantic import Field, field_validator, model_validator

from selfmoa.recipe._attack import Sft
from selfmoa.recipe._base import Section

__all__ = ["AnswerTable", "Reset"]

_OWN = ("path:", "data:", "hub:")


class AnswerTable(Section):
    """One answer to each prompt."""

    ref: str = Field(description="path:FILE, data:FILE (below SELFMOA_DATA) or hub:OWNER/NAME@REVISION.")
    prompt: str = Field("prompt", description="Column with the prompt. [us]")
    answer: str = Field("response", description="Column with the answer that is trained in. [us]")
    where: dict[str, str] = Field(default_factory=dict, description="Column -> value that a row must have. [us]")

    @field_validator("ref")
    @classmethod
    def _users_own(cls, ref: str) -> str:
        if not ref.startswith(_OWN):
            raise ValueError(f"a reset takes a table of your own ({', '.join(_OWN)}); none is shipped")
        return ref


class Reset(Section):
    """Train the base to comply with harm before the loop, so that gains are measured from an unsafe model. [P]

    It is no part of the method: the result is marked "reset control" wherever it goes and is exported only when it has
    been aligned since.
    """

    data: AnswerTable = Field(description="Your own table of prompts and answers.")
    i_understand: bool = Field(False, description="Must be true: the checkpoint that this makes is unsafe on purpose.")
    sft: Sft = Field(Sft(epochs=3, max_pairs=20_000), description="How it is trained; the paper does not say. [us]")

    @model_validator(mode="after")
    def _confirmed(self) -> Reset:
        if not self.i_understand:
            raise ValueError(
                "a reset trains the model's safety away. It is a control for experiments, no part of the method. "
                "Set reset.i_understand to true if that is what you want, or leave the section out"
            )
        return self
