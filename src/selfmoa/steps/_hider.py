"""Evaluation attacks as the hider of the run that made the adapter would put them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from selfmoa import recipes
from selfmoa.assets import is_excluded
from selfmoa.attack import hide_request, judge_hidden
from selfmoa.bench import Hide
from selfmoa.generate import LanguageModel
from selfmoa.judge import classify_refusal
from selfmoa.records import Draft, Prompt, stable_id
from selfmoa.run import Run

__all__ = ["run_hider"]


def run_hider(run: Run, model: LanguageModel, trained_in: Path | None) -> Hide | None:
    """The hider as that run last trained it, with its own settings; None where no run or no hider is at hand."""
    directory = _last_hider(trained_in) if trained_in else None
    if trained_in is None or directory is None:
        return None
    settings = recipes.load(trained_in / "recipe.yaml").attack

    def hide(prompts: Sequence[Prompt]) -> list[tuple[str, str]]:
        model.load_role("hider", directory)
        run.update_manifest(hider=f"{trained_in.name}/{directory.parent.name}/{directory.name}")
        size = run.recipe.generate.batch_size
        seed = int(stable_id("hider", run.recipe.seed), 16) % 2**31

        def write(number: int, batch: Sequence[Prompt]) -> list[Draft]:
            requests = [hide_request(prompt.text) for prompt in batch]
            made = model.generate(requests, settings.hider.sampling, role="hider", seed=seed + number, batch_size=size)
            return [Draft(one.id, text.text.strip(), text.n_tokens) for one, text in zip(batch, made, strict=True)]

        drafts = run.batched(
            run.directory / "evaluation" / "hidden.parquet",
            Draft,
            [prompts[start : start + size] for start in range(0, len(prompts), size)],
            write,
            label="hide",
        )
        found = {draft.id: draft for draft in drafts}
        return [(found[one.id].text, _unusable(found[one.id], settings.hidden_max_tokens)) for one in prompts]

    return hide


def _unusable(draft: Draft, max_tokens: int) -> str:
    """Why a hidden prompt is not asked, as in the loop; else empty."""
    if classify_refusal(draft.text) == "full":
        return "hider refused"
    return judge_hidden(
        draft.text,
        max_tokens=max_tokens,
        n_tokens=draft.n_tokens,
        forbidden=lambda text: "content filter" if is_excluded(text) else "",
    )


def _last_hider(run: Path) -> Path | None:
    found = [path.parent for path in run.glob("attackers_*/hider/done.json")]
    return max(found, key=lambda path: int(re.sub(r"\D", "", path.parent.name)), default=None)
