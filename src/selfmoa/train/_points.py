"""Points between a model and its adapter, or between two adapters, each an adapter again."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from safetensors.torch import load_file, save_file

from selfmoa.errors import ModelError, UsageError, first_line
from selfmoa.generate import load_plain

__all__ = ["lora_shape", "write_scaled", "write_soup"]

_WEIGHTS, _CONFIG = "adapter_model.safetensors", "adapter_config.json"


def write_scaled(adapter: Path, share: float, out: Path) -> None:
    """A share of an adapter's whole change, in [0, 1]: 0 is the base, 1 the adapter, bit for bit.

    Exact: what counts is B@A, and B alone is scaled.
    """
    _check(share)
    out.mkdir(parents=True, exist_ok=True)
    weights = load_file(adapter / _WEIGHTS)
    save_file({key: share * old if "lora_B" in key else old for key, old in weights.items()}, out / _WEIGHTS)
    (out / _CONFIG).write_bytes((adapter / _CONFIG).read_bytes())


def write_soup(base: Path, first: Path, second: Path, share: float, out: Path) -> None:
    """A rewarded soup: `share` of the first adapter's change and the rest of the second's, in [0, 1].

    PEFT's "cat" is exact, where "linear" mixes A and B apart; the rank is the sum of both. Raises `ModelError` where an
    adapter is not this base's.
    """
    _check(share)
    net, _ = load_plain(base, first)
    try:
        net.load_adapter(str(second), "second")
        net.add_weighted_adapter(["default", "second"], [share, 1.0 - share], "soup", combination_type="cat")
    except Exception as error:
        raise ModelError(f"{first} and {second} cannot be merged: {first_line(error)}") from error
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out) as room:
        net.save_pretrained(room, selected_adapters=["soup"])
        for name in (_WEIGHTS, _CONFIG):
            (Path(room) / "soup" / name).replace(out / name)


def lora_shape(adapter: Path) -> tuple[int, int]:
    """(r, alpha) of an adapter."""
    config = json.loads((adapter / _CONFIG).read_text(encoding="utf-8"))
    return int(config["r"]), int(config["lora_alpha"])


def _check(share: float) -> None:
    if not 0.0 <= share <= 1.0:
        raise UsageError(f"A point is {share:g}, expected a share in [0, 1].")
