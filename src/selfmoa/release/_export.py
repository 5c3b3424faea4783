"""The aligned model as files for others: a PEFT adapter, merged safetensors, each with its card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from selfmoa import api, assets
from selfmoa.errors import GateFailed, RefusedError, StorageError, UsageError
from selfmoa.records import with_fate
from selfmoa.release._check import check_copies, told
from selfmoa.run import (
    RESET,
    RESET_MARK,
    aligned_model,
    read_each,
    read_json,
    require_base,
    resets,
    write_json,
    write_text,
)

__all__ = ["Form", "export", "kept_stages", "require_adapter", "require_run"]

Form = Literal["adapter", "merged"]
FORMS: tuple[Form, ...] = ("adapter", "merged")
SCHEMA = 1
_LICENCES = ("LICENSE*", "LICENCE*", "NOTICE*")


def export(
    run: Path,
    out: Path,
    *,
    forms: Sequence[Form] = FORMS,
    check: bool = True,
    suite: str = "quick",
    progress: Literal["auto", "quiet"] = "auto",
) -> dict[str, Any]:
    """Write the aligned model of a run to `out/adapter` and `out/merged`, and what is known of them to `export.json`.

    With `check` each copy is loaded again with transformers and PEFT alone and answers the prompts of `suite`: the same
    text as the adapter in the run on at least `SAME_TEXTS` of them (in float32), else `GateFailed` is raised when all
    is written.
    Raises `UsageError` where there is nothing to export, `RefusedError` for a checkpoint whose safety was reset and not
    trained back.
    """
    forms = _allowed(run, forms)
    stages = kept_stages(run)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists and is not empty. Give another --out.")
    api.quiet_libraries()
    files = assets.resolve_model(aligned_model(run).ref)
    require_base(run, files.key)
    base = files.directory
    copies: dict[str, Path] = {form: out / form for form in forms}
    for form, directory in copies.items():
        _write(run, base, form, directory)
    found: dict[str, Any] = {
        "schema": SCHEMA,
        "run": run.resolve().name,
        "forms": list(forms),
        "kept_stages": stages,
        "reset_control": resets(run),
        "check": check_copies(run, base, copies, suite, progress) if check else None,
    }
    _write_cards(run, out, forms, found)
    write_json(out / "export.json", found)
    _require_same(found)
    return found


def kept_stages(run: Path) -> int:
    """How many alignment stages of a run kept a share of their update; 0 = the model is its base."""
    stages = with_fate(read_each(run, "stage_*/stage.json"))
    return sum(bool(stage.get("kept")) for stage in stages)


def require_run(directory: Path) -> None:
    """Raise `UsageError` where the directory is not a run's."""
    if not (directory / "recipe.yaml").is_file():
        raise UsageError(f"{directory} is no run directory; expected one that `selfmoa align` made, e.g. runs/demo.")


def require_adapter(run: Path) -> None:
    """Raise `UsageError` where the run has not come to its adapter."""
    if not (run / "adapter" / "adapter_model.safetensors").is_file():
        raise UsageError(f"{run} is a run without an adapter: it has not finished. Resume it.")


def _allowed(run: Path, forms: Sequence[Form]) -> tuple[Form, ...]:
    """The forms that may be written; for a reset control the merged one alone."""
    if (read_json(run / "config.json") or {}).get(RESET_MARK):
        raise RefusedError(f"{run} is a reset checkpoint: its safety was trained away on purpose. It is not exported.")
    require_run(run)
    if resets(run) and not kept_stages(run):
        raise RefusedError(
            f"{run} starts from a reset checkpoint and no alignment stage was kept since: the model is as unsafe as "
            "the reset made it. It is not exported; align it first."
        )
    require_adapter(run)
    if resets(run) and tuple(forms) == ("adapter",):
        raise RefusedError(
            f"The adapter of {run} lies on its reset checkpoint ({RESET}), which is not exported, and is another "
            "model's elsewhere. Export it --merged."
        )
    return ("merged",) if resets(run) else tuple(forms)


def _write(run: Path, base: Path, form: str, out: Path) -> None:
    try:
        out.mkdir(parents=True)
    except OSError as error:
        raise StorageError(f"{out} cannot be made: {error.strerror}.") from error
    for licence in (path for pattern in _LICENCES for path in base.glob(pattern) if path.is_file()):
        shutil.copyfile(licence, out / licence.name)
    if form == "merged":
        from selfmoa.generate import write_merged

        write_merged(base, run / "adapter", out)
        return
    from selfmoa.generate import load_tokenizer

    load_tokenizer(base).save_pretrained(out)
    shutil.copyfile(run / "adapter" / "adapter_model.safetensors", out / "adapter_model.safetensors")
    config = json.loads((run / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = _public_name(aligned_model(run).ref)  # a path of this machine
    write_text(out / "adapter_config.json", json.dumps(config, indent=2) + "\n")


def _public_name(ref: str) -> str:
    """The hub's name of a model, or the last part of where it lies."""
    kind, _, name = ref.partition(":")
    return name.partition("@")[0] if kind == "hub" else Path(name).name


def _write_cards(run: Path, out: Path, forms: Sequence[Form], found: dict[str, Any]) -> None:
    from selfmoa.report import write_card

    notes = [] if found["kept_stages"] else ["No alignment stage was kept: this is the unaligned model."]
    for form in forms:
        write_card(run, out=out / form, form=form, notes=[*notes, *told(found["check"], form)])


def _require_same(found: dict[str, Any]) -> None:
    check = found["check"] or {}
    for form, copy in (check.get("copies") or {}).items():
        if check["required_share"] and copy["same_share"] < check["required_share"]:
            raise GateFailed(
                f"The exported {form} gives the same text on {copy['same']} of {copy['n']} prompts, expected at least "
                f"{check['required_share']:.0%}: it is not the model that was measured. See export.json."
            )
