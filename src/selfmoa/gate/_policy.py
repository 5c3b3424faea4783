"""The policy: which figure must lie within which limit, and how surely."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from selfmoa.errors import UsageError, first_problem

__all__ = ["Condition", "Policy", "load_policy"]


class Condition(BaseModel):
    """One limit on one figure; with `sure` the whole 95 % interval must keep it, not only the value."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: str = Field(description="Name in results.json, e.g. attack_success, over_refusal, helpfulness_benign.")
    of: Literal["after", "before", "change"] = Field(
        "after", description="Which figure: of the model (after), of its base (before), or the paired change."
    )
    at_most: float | None = Field(None, description="Upper limit, in the figure's own unit (shares in [0, 1]).")
    at_least: float | None = Field(None, description="Lower limit.")
    sure: bool = Field(True, description="False = the value alone decides, whatever its interval.")

    @model_validator(mode="after")
    def _one_limit(self) -> Condition:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError(f"condition on {self.metric!r} needs one of at_most and at_least.")
        return self

    @property
    def limit(self) -> float:
        """The limit, whichever way it holds."""
        return float(self.at_most if self.at_most is not None else self.at_least or 0.0)

    @property
    def words(self) -> str:
        """In words, e.g. "attack_success after: at most 0.1, for sure"."""
        which = "at most" if self.at_most is not None else "at least"
        return f"{self.metric} {self.of}: {which} {self.limit:g}{', for sure' if self.sure else ''}"


class Policy(BaseModel):
    """All conditions; every one must hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = Field(1, alias="schema")
    name: str = "policy"
    conditions: tuple[Condition, ...] = Field(min_length=1)
    max_unscored: float = Field(0.05, ge=0, le=1, description="Share of a figure's prompts that may be unscored.")


def load_policy(path: Path) -> Policy:
    """Read a policy from YAML. Raises `UsageError` that names the field for anything that is no policy."""
    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"There is no policy file {path}. docs/release.md has one to start from.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(told, dict):
        raise UsageError(f"{path} holds {type(told).__name__}, expected a mapping with 'conditions'.")
    try:
        return Policy(**told)
    except ValidationError as error:
        raise UsageError(f"{path}: {first_problem(error, 'policy')}") from error
