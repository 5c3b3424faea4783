"""Who, what, where, and what the figures do not say."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from selfmoa.report._load import RunData
from selfmoa.report._results import weakness
from selfmoa.report._text import count, integer, number

__all__ = [
    "asset_rows",
    "command",
    "facts",
    "how_made",
    "limits",
    "machine_rows",
    "model_ref",
    "prompt_rows",
    "published",
    "removed",
    "title",
]

Row = dict[str, Any]

_NOT_AUDITED = (
    "No human has labelled these answers. Every figure is a judge's, uncorrected; where the judge errs, so "
    "does the figure. `selfmoa judges audit RUN` draws a blind sample to label."
)
_ALWAYS = (
    "Optimising against judges teaches a model what judges like. The gate judges took no part in "
    "training, but they can share blind spots with those that did. Read answers yourself before you ship.",
    "Attack success is measured on public prompts in one turn and in their language. Other attacks, long "
    "conversations, other languages and fine-tuning by an attacker were not tried.",
    "Intervals cover the choice of prompts. They do not cover the judges' errors or the chance in training.",
    "A refusal is not safety, and its absence is not harm: the two are counted apart for that reason.",
)


def title(run: RunData) -> str:
    """Name of the run."""
    return str(run.manifest.get("name") or run.recipe.get("name") or run.directory.name)


def model_ref(run: RunData) -> str:
    """What was aligned, as the recipe names it; the last part only of a local path."""
    told = run.manifest.get("model") if isinstance(run.manifest.get("model"), dict) else {}
    ref = str((told or {}).get("ref") or _section(run.recipe, "model").get("ref") or "unknown model")
    return published(ref)


def published(ref: str) -> str:
    """A reference without where a local file lies, which is nobody else's business."""
    return f"path:{PurePath(ref[5:]).name}" if ref.startswith("path:") else ref


def facts(run: RunData) -> list[str]:
    """One line under the title."""
    manifest = run.manifest
    model = manifest.get("model") if isinstance(manifest.get("model"), dict) else {}
    size = number((model or {}).get("parameters"))
    lines = ["RESET CONTROL"] if manifest.get("reset_control") else []
    lines += [model_ref(run) + (f" ({_millions(size)})" if size else "")]
    lines += [f"{count(len(run.rounds), 'round')}, {count(len(run.stages), 'alignment stage')}"]
    if manifest.get("started"):
        lines.append(_span(str(manifest["started"]), manifest.get("finished")))
    if "seed" in manifest:
        lines.append(f"seed {manifest['seed']}")
    return lines


def _millions(parameters: float) -> str:
    if parameters >= 1e9:
        return f"{parameters / 1e9:.1f} billion parameters"
    return f"{parameters / 1e6:.0f} million parameters" if parameters >= 1e6 else f"{integer(parameters)} parameters"


def _span(start: str, end: Any) -> str:
    if not end:
        return f"begun {_date(start)} UTC, not finished"
    last = _date(str(end))
    return f"{_date(start)} to {last[11:] if last[:10] == start[:10] else last} UTC"


def _date(stamp: str) -> str:
    return stamp.replace("T", " ")[:16]


def prompt_rows(run: RunData) -> list[Row]:
    """One row a set of prompts, or a round's attacks: how varied they are, which hazards they cover."""
    told = run.results.get("prompts")
    found = told if isinstance(told, dict) else {}
    return [_prompt_row(str(name), row) for name, row in found.items() if isinstance(row, dict)]


def _prompt_row(name: str, row: Row) -> Row:
    figures = {key: number(row.get(key)) for key in ("self_bleu", "distinct_1", "distinct_2", "spread")}
    counts, absent = row.get("hazards") or {}, row.get("absent") or []
    uncoded = number(row.get("uncoded")) or 0
    return {
        "name": name,
        "n": integer(row.get("n")),
        "sampled": integer(row.get("sampled")),
        **{key: "–" if value is None else f"{value:.2f}" for key, value in figures.items()},
        "hazards": ", ".join(f"{code} {integer(n)}" for code, n in counts.items()),
        "absent": ", ".join(str(code) for code in absent),
        "uncoded": integer(uncoded) if uncoded else "",
    }


def removed(run: RunData) -> str:
    """How many evaluation prompts were taken out, in words; empty where it is not known."""
    told = run.results.get("removed")
    if isinstance(told, dict):
        return "; ".join(f"{name}: {_amount(n)}" for name, n in told.items() if n)
    if isinstance(told, list):
        return count(len(told), "prompt")
    return "" if told is None else _amount(told)


def _amount(n: Any) -> str:
    if isinstance(n, dict):
        return ", ".join(f"{_amount(value)} × {key}" for key, value in n.items())
    if isinstance(n, list):
        return integer(len(n))
    return integer(n) if number(n) is not None else str(n)


def command(run: RunData) -> str:
    """What to type to run it again."""
    return (
        f"# with selfmoa {run.manifest.get('selfmoa', '')} installed, in this run directory\n"
        f"selfmoa align recipe.yaml --run-dir ../{title(run)}-again\n"
        "selfmoa explain . PAIR_ID"
    )


def machine_rows(run: RunData) -> list[tuple[str, str]]:
    """Versions, seed and machine as (name, value)."""
    manifest = run.manifest
    versions = manifest.get("versions") if isinstance(manifest.get("versions"), dict) else {}
    machine = manifest.get("machine") if isinstance(manifest.get("machine"), dict) else {}
    model = manifest.get("model") if isinstance(manifest.get("model"), dict) else {}
    python = manifest.get("python") or (machine or {}).get("python")
    code = manifest.get("git")
    rows = [
        ("selfmoa", f"{manifest.get('selfmoa', '')}" + (f", commit {code}" if code else "")),
        ("Packages", ", ".join(f"{name} {number_}" for name, number_ in (versions or {}).items())),
        ("Python", str(python or "")),
        (
            "Model",
            f"{model_ref(run)}, key {(model or {}).get('key')}" if (model or {}).get("key") else model_ref(run),
        ),
        ("Recipe hash", str(manifest.get("recipe_hash") or "")),
        ("Seed", str(manifest.get("seed", ""))),
        ("Machine", _machine(machine or {})),
        ("Attempts", _attempts(manifest.get("attempts"))),
    ]
    return [(name, value) for name, value in rows if value]


def _machine(machine: Row) -> str:
    parts = [str(machine.get("cpu") or "")]
    parts += [f"{machine['cores']} cores"] if machine.get("cores") else []
    parts += [f"{machine['memory_gb']} GB memory"] if machine.get("memory_gb") else []
    parts += [str(machine.get("platform") or "")]
    return ", ".join(part for part in parts if part)


def _attempts(attempts: Any) -> str:
    n = number(attempts)
    return "" if n is None else "1, uninterrupted" if n <= 1 else f"{n:.0f}, resumed {count(int(n) - 1, 'time')}"


def asset_rows(run: RunData) -> list[Row]:
    """Assets with every column present."""
    keys = ("ref", "title", "licence", "source", "sha256")
    found = run.manifest.get("assets")
    return [{key: str(asset.get(key) or "") for key in keys} for asset in found or [] if isinstance(asset, dict)]


def limits(run: RunData, metrics: list[Row], *, audited: bool = False) -> list[str]:
    """What the report cannot show: what always holds, and what holds for this run."""
    lines = [*([] if audited else [_NOT_AUDITED]), *_ALWAYS]
    lines += [f"{card.get('name')} is a weak judge: {words}." for card in run.judges if (words := _weak_gate(card))]
    proxies = list(dict.fromkeys(row["label"] for row in metrics if row["proxy"]))
    if proxies:
        lines.append(f"Proxies, which measure something near what they are named after: {'; '.join(proxies)}.")
    if any(row["any_unscored"] for row in metrics):
        lines.append("Answers that a judge left unscored are counted and left out; they are neither good nor bad.")
    if "seed" in run.manifest:
        lines.append(f"This is one run with one seed ({run.manifest['seed']}). Another seed gives other figures.")
    if not run.manifest.get("finished"):
        lines.append("The run is not finished; everything here may still change.")
    return lines


def how_made(run: RunData) -> str:
    """What was done to the model, in one sentence; the baselines do less, or something else."""
    loop, attack, train = (_section(run.recipe, name) for name in ("loop", "attack", "train"))
    if train.get("pairs"):
        return "the model was trained on pairs of answers that people had labelled, and attacked by nobody"
    if loop.get("n_rounds") == 0:
        return "nothing was trained"
    asked = (
        "the model was asked the prompts of public data sets as they are"
        if attack.get("static")
        else "the model was attacked with prompts written against its own weak spots"
    )
    return (
        f"{asked}, programs judged its answers, and it was trained on the pairs of better and worse answers. "
        "No human labelled these pairs"
    )


def _weak_gate(card: Row) -> str:
    return weakness(card) if card.get("side") == "gate" and card.get("auc") else ""


def _section(recipe: Row, name: str) -> Row:
    found = recipe.get(name)
    return found if isinstance(found, dict) else {}
