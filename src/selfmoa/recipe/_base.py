"""What every section of a recipe is made of."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

__all__ = ["Data", "DataRef", "Judge", "JudgeRef", "Sampling", "Section", "Share", "Wrap", "WrapRef", "tables"]

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(BaseModel):
    """Base of every section: unknown fields are refused, values cannot change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataRef(Section):
    """One table of prompts."""

    ref: str = Field(description="wheel:NAME, path:FILE, hub:OWNER/NAME@REVISION or set:NAME (a registered set).")
    prompt: str = Field("prompt", description="Column with the prompt. [us]")
    hazard: str | None = Field(None, description="Column with the hazard category, if there is one. [us]")
    part: Literal["all", "loop", "eval"] = Field(
        "all", description="Which half of the table's groups (split by hash of the group) to take. [us]"
    )
    where: dict[str, str] = Field(default_factory=dict, description="Column -> value that a row must have. [us]")


class WrapRef(DataRef):
    """One way of wrapping prompts: a table of templates, style:NAME, or run:hider."""

    words: int | None = Field(
        None, ge=10, description="Words of a template at the most; else the set's wrap_words. [us]"
    )


class JudgeRef(Section):
    """One judge: an embedded or preset name, or a Hugging Face model behind a family."""

    name: str = Field(description="Registered name, e.g. lm-state, tfidf, minilm, llama-guard-3-8b.")
    model: str | None = Field(None, description="Overrides the preset's model (path: or hub:).")
    options: dict[str, Any] = Field(default_factory=dict, description="Options of the judge's family.")


def _as_mapping(key: str) -> BeforeValidator:
    return BeforeValidator(lambda value: {key: value} if isinstance(value, str) else value)


def _as_values(value: Any) -> Any:
    """A plain table may stand for one of templates."""
    return value.model_dump() if type(value) is DataRef else value


Data = Annotated[DataRef, _as_mapping("ref")]
Wrap = Annotated[WrapRef, _as_mapping("ref"), BeforeValidator(_as_values)]


Judge = Annotated[JudgeRef, _as_mapping("name")]


def tables(*refs: str, part: Literal["all", "loop", "eval"] = "all") -> tuple[DataRef, ...]:
    """References to whole tables, or to the same half of each."""
    return tuple(DataRef(ref=ref, part=part) for ref in refs)


class Sampling(Section):
    """How text is sampled."""

    temperature: float = Field(0.7, ge=0.0, le=5.0, description="0 = greedy. [A]")
    top_p: float = Field(0.9, gt=0.0, le=1.0, description="Nucleus mass. [A]")
    max_new_tokens: int = Field(128, ge=1, le=4096, description="Tokens. [us]")
