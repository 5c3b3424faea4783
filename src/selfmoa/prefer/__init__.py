"""From judged answers to preference pairs."""

from selfmoa.prefer._pairing import Candidate, PairingResult, cap_guided, cap_harmless, pair_round, why_not

__all__ = ["Candidate", "PairingResult", "cap_guided", "cap_harmless", "pair_round", "why_not"]
