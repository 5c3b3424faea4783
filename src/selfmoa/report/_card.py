"""The model card (README.md) that travels with the adapter."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from selfmoa.audit import read_audit
from selfmoa.bench import counted_on
from selfmoa.report._eval_results import eval_results, sources
from selfmoa.report._facts import asset_rows, facts, how_made, limits, model_ref, title
from selfmoa.report._load import RunData, load_run
from selfmoa.report._loop import pair_facts, stage_rows
from selfmoa.report._results import judge_cards, metric_rows, original_rows
from selfmoa.report._text import number, visible
from selfmoa.run import write_text

__all__ = ["write_card"]

Row = dict[str, Any]
Form = Literal["run", "adapter", "merged"]
_MARKUP = re.compile(r"([\\`*_{}\[\]<>|#!~$])")
_CLOSED = ("unknown", "other", "")


def write_card(run_dir: Path, *, out: Path | None = None, form: Form = "run", notes: Sequence[str] = ()) -> Path:
    """Write the model card `README.md` of a run and give its path; it holds no prompt and no answer.

    It lies in the run directory, or in `out` beside an exported copy of that `form`, with `notes` on the copy.
    With it `.eval_results/selfmoa.yaml`, where a figure rests on one data set of the hub alone.

    Raises `UsageError` where `run_dir` is no run directory, `StorageError` where it cannot be written.
    """
    run = load_run(Path(run_dir))
    environment = Environment(
        loader=PackageLoader("selfmoa.report", "templates"),
        autoescape=False,  # Markdown, not HTML: every value goes through `_markdown` instead
        undefined=StrictUndefined,
        finalize=_markdown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    path = (out or run.directory) / "README.md"
    told = {**_context(run, form), "form": form, "notes": list(notes)}
    write_text(path, environment.get_template("card.md.j2").render(told))
    _write_eval_results(told["eval_results"], path.parent)
    return path


def _write_eval_results(text: str, directory: Path) -> None:
    path = directory / ".eval_results" / "selfmoa.yaml"
    if text:
        write_text(path, text)
    else:
        path.unlink(missing_ok=True)  # of an earlier card


def _markdown(value: Any) -> Any:
    """Text from the run as one line in which no character is markup."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return _MARKUP.sub(r"\\\1", visible(" ".join(value.split())))


def _context(run: RunData, form: Form) -> Row:
    metrics = metric_rows(run.results, run.judges)
    return {
        "front_matter": Markup(_front_matter(run, form)),
        "title": title(run),
        "facts": "; ".join(facts(run)),
        "model": model_ref(run),
        "base": _base_model(run),
        "first_line": str(run.results.get("first_line") or "The run has not finished; nothing was compared."),
        "warnings": [str(line) for line in run.results.get("warnings") or []],
        "metrics": metrics,
        "original": original_rows(run.results),
        "eval_results": eval_results(run),
        "pairs": pair_facts(run),
        "stages": stage_rows(run),
        "judges": judge_cards(run.judges),
        "assets": [_published(asset) for asset in asset_rows(run)],
        "made": how_made(run),
        "limits": limits(run, metrics, audited=read_audit(run.directory) is not None),
        "has_adapter": (run.directory / "adapter").is_dir(),
    }


def _published(asset: Row) -> Row:
    """Where a local file lies is nobody else's business."""
    return {**asset, "source": "a local file"} if asset["ref"].startswith("path:") else asset


def _front_matter(run: RunData, form: Form) -> str:
    licences = _licences(run)
    values: Row = {
        "base_model": _base_model(run),
        "library_name": "transformers" if form == "merged" else "peft",
        "pipeline_tag": "text-generation",
        "license": licences[0].lower() if len(licences) == 1 else "other",
        "tags": ["selfmoa", "safety", "alignment", "lora", "dpo", "modpo"]
        + (["reset-control"] if run.manifest.get("reset_control") else []),
    }
    if len(licences) > 1:
        values["license_name"] = "; ".join(licences)
    index = _model_index(run)
    if index:
        values["model-index"] = index
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=False, width=1000)


def _model_index(run: RunData) -> list[Row]:
    """The aligned model's figures in the hub's format, with n, interval and judge; empty where nothing was compared."""
    from huggingface_hub import EvalResult
    from huggingface_hub.repocard_data import eval_results_to_model_index

    found = []
    for metric in run.results.get("metrics") or []:
        after = metric.get("after") if isinstance(metric, dict) else None
        if not isinstance(after, dict) or number(after.get("value")) is None:
            continue
        data = counted_on(str(metric.get("set") or "")) or "prompts"
        told = {key: after.get(key) for key in ("low", "high", "n")}
        change = metric.get("change") if isinstance(metric.get("change"), dict) else {}
        told |= {f"change_{key}": (change or {}).get(key) for key in ("value", "low", "high")}
        told |= {"judge": _line(str(metric.get("judge") or "")), "proxy": bool(metric.get("proxy"))}
        found.append(
            EvalResult(
                task_type="text-generation",
                # one each: the hub takes figures of one type and one list of tables for one data set
                dataset_type=_line(f"selfmoa-{metric.get('set')}"),
                dataset_name=_line(data),
                metric_type=_line(str(metric.get("name"))),
                metric_name=_line(str(metric.get("label"))),
                metric_value=round(float(after["value"]), 4),
                metric_args=told,
                dataset_config=_line("; ".join(sources(run, str(metric.get("set"))))) or None,
            )
        )
    return eval_results_to_model_index(_line(title(run)), found) if found else []


def _base_model(run: RunData) -> str:
    kind, _, name = model_ref(run).rpartition(":")
    return _line(name.split("@")[0] if kind == "hub" else name)  # the hub links a name, not a revision


def _line(text: str) -> str:
    """One line: a line break could end the front matter."""
    return visible(" ".join(text.split()))


def _licences(run: RunData) -> list[str]:
    """Licences of all assets: the adapter inherits them."""
    found = (_line(asset["licence"]) for asset in asset_rows(run))
    return list(dict.fromkeys(licence for licence in found if licence.lower() not in _CLOSED)) or ["unknown"]
