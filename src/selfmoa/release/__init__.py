"""What leaves a run: checked copies of the aligned model, and points between it and its base."""

from selfmoa.release._check import SAME_TEXTS
from selfmoa.release._export import Form, export, kept_stages
from selfmoa.release._front import AT, front

__all__ = ["AT", "SAME_TEXTS", "Form", "export", "front", "kept_stages"]
