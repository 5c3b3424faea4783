"""From judged answers to preference pairs."""

from selfmoa.prefer._candidate import Candidate
from selfmoa.prefer._pairing import (
    SAFE_BEATS_UNSAFE,
    PairingResult,
    cap_guided,
    cap_harmless,
    in_keeping,
    pair_round,
    why_not,
)

__all__ = [
    "SAFE_BEATS_UNSAFE",
    "Candidate",
    "PairingResult",
    "cap_guided",
    "cap_harmless",
    "in_keeping",
    "pair_round",
    "why_not",
]
