"""What a preset of an outside judge says about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["UNPINNED", "Preset"]

UNPINNED = "Unpinned: name a commit, model: hub:OWNER/NAME@COMMIT."


@dataclass(frozen=True)
class Preset:
    """One recipe line: a family, the model behind it, its options, and what to know before using it."""

    family: str
    model: str | None
    """None: the recipe names it."""
    licence: str
    source: str
    """Where template, labels and licence were read."""
    note: str
    """Access conditions, what is not verified, what to mind."""
    gated: bool = False
    """The hub asks for an account that has accepted the conditions."""
    commercial: bool = False
    """The licence is known to allow commercial use, on its conditions."""
    options: Mapping[str, Any] = field(default_factory=dict)
    hazards: Mapping[str, str] = field(default_factory=dict)
    """The model's own hazard codes and their names; empty: it has none."""

    @property
    def objective(self) -> str:
        """safety or helpfulness."""
        return str(self.options.get("objective", "safety"))
