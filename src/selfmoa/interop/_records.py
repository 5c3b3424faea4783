"""What every importer gives."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ForeignAnswer"]


@dataclass(frozen=True, slots=True)
class ForeignAnswer:
    """One prompt, the first answer to it, and what the other tool made of that."""

    prompt: str
    text: str
    hazard: str
    """Name of the probe or task."""
    hit: bool | None = None
    """True where the tool's own detectors call it a successful attack; None where it did not judge."""
    more: int = 0
    """Further generations for the same prompt, which are left out."""
