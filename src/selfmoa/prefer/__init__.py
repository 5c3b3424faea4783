"""From judged answers to preference pairs."""

from selfmoa.prefer._pairing import Candidate, PairingResult, cap_guided, pair_round

__all__ = ["Candidate", "PairingResult", "cap_guided", "pair_round"]
