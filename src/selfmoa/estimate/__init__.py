"""How long a run takes on this machine, and how much memory: a short calibration, scaled to the recipe."""

from selfmoa.estimate._calibration import Calibration, calibrate, find_calibration, timing_pair
from selfmoa.estimate._estimate import StepEstimate, estimate, estimated, store_estimate

__all__ = [
    "Calibration",
    "StepEstimate",
    "calibrate",
    "estimate",
    "estimated",
    "find_calibration",
    "store_estimate",
    "timing_pair",
]
