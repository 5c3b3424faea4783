"""Results of other tools, read as answers that selfmoa's own judges grade; and ours, written for another tool."""

from selfmoa.interop._read import Foreign, ForeignAnswer, as_answers, read_foreign
from selfmoa.interop._to_inspect import to_inspect

__all__ = ["Foreign", "ForeignAnswer", "as_answers", "read_foreign", "to_inspect"]
