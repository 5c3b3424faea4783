"""How much of what models read is padding, counted at every forward pass in this process."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

__all__ = ["POSITIONS", "Positions"]

_LOCK = threading.Lock()  # passes may run side by side


@dataclass
class Positions:
    """Places of all batches so far: `read` all of them, `padded` those that the attention mask leaves out."""

    read: float = 0.0
    padded: float = 0.0

    def listen(self, body: Any) -> None:
        """Count every forward pass of a transformer without its head.

        A pass without a mask of shape (N, tokens) has no padding that one could see; `fill` tells what it holds.
        """
        body.register_forward_pre_hook(self._count, with_kwargs=True)

    def fill(self, padded: int) -> None:
        """Say of a batch with a mask of another shape how many of its places are padding."""
        with _LOCK:
            self.padded += padded

    def since(self, earlier: Positions) -> dict[str, float]:
        """What was read after a copy of these counts was taken."""
        return {"read": self.read - earlier.read, "padded": self.padded - earlier.padded}

    def _count(self, _body: Any, _inputs: Any, named: dict[str, Any]) -> None:
        tokens, mask = named.get("input_ids"), named.get("attention_mask")
        if tokens is None:
            return
        padded = 0
        if mask is not None and mask.dim() == 2:
            padded = tokens.numel() - int(mask[:, -tokens.shape[1] :].sum())
        with _LOCK:
            self.read += tokens.numel()
            self.padded += padded


POSITIONS = Positions()
"""Of this process, as its peak memory is."""
