"""Results of other tools, read as answers that selfmoa's own judges grade."""

from selfmoa.interop._read import Foreign, ForeignAnswer, as_answers, read_foreign

__all__ = ["Foreign", "ForeignAnswer", "as_answers", "read_foreign"]
