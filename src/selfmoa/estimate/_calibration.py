"""A few seconds of sampling, reading and training on the actual model: what a token costs on this machine."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfmoa import assets
from selfmoa.recipe import Recipe
from selfmoa.run import cache_key, describe_machine, peak_memory_mb, read_json, versions, write_json

if TYPE_CHECKING:
    from selfmoa.generate import LanguageModel
    from selfmoa.records import Pair

__all__ = ["Calibration", "calibrate", "find_calibration", "timing_pair"]

_VERSION = 2
_LONGEST = 48
"""Tokens of a calibration answer at the most."""
_JUDGES_MB = 190
"""What the embedded judges' encoder, heads and scikit-learn add to any model; measured once, on the demo's judges."""
_PAIRS = 6
_QUESTIONS = (
    "What is the capital of France?",
    "Write two sentences about a garden in spring, with herbs and flowers.",
    "How do I sort a list of numbers by hand? Explain it in short steps, please, so that a child can follow.",
    "Name three animals that live near rivers and say what each of them eats.",
)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Rates of one model on one machine, with the recipe's batch sizes."""

    load_seconds: float
    sample_seconds: float
    """A sampled token's, prompts included."""
    read_seconds: float
    """A token's in a forward pass."""
    train_seconds: float
    """A token's of a preference step with its reference."""
    prompt_tokens: float
    """Mean of a rendered prompt."""
    filled: float
    """Share of the token limit that answers reach, in (0, 1]."""
    peak_mb: float
    """Largest resident memory while it was measured, with what the embedded judges add, MB."""


def _path(recipe: Recipe) -> Path:
    """Where the rates are kept: they belong to the machine, the model, and what the recipe keeps in memory."""
    machine = {name: describe_machine()[name] for name in ("cpu", "cores", "memory_gb")}
    train = (recipe.train.micro_batch_size, recipe.train.answer_tokens, recipe.train.max_length)
    longest = (recipe.attack.hidden_max_tokens, recipe.evaluate.max_new_tokens)
    settings = (recipe.generate.batch_size, *longest, *train, recipe.judges.batch_size, *sorted(recipe.judges.names()))
    model = recipe.model.model_dump_json()
    key = cache_key("calibration", _VERSION, *machine.values(), *versions().values(), model, *settings)
    return assets.cache_dir("calibrations") / f"{key}.json"


def find_calibration(recipe: Recipe) -> Calibration | None:
    """What was measured before on this machine, None where nothing was or the file cannot be read."""
    found = read_json(_path(recipe))
    try:
        rates = Calibration(**found) if isinstance(found, dict) else None
    except TypeError:
        return None
    good = rates is not None and all(isinstance(value, int | float) and value > 0 for value in asdict(rates).values())
    return rates if good else None


def calibrate(recipe: Recipe) -> Calibration:
    """Measure and keep the rates. Raises what fetching and loading the model raise."""
    from selfmoa.steps import load_model

    start = time.perf_counter()
    model, _ = load_model(recipe)
    loaded = time.perf_counter() - start
    rates = _rates(model, recipe)
    _longest_batch(model, recipe)
    found = Calibration(load_seconds=loaded, **rates, peak_mb=peak_memory_mb() + _judges_mb(recipe))
    write_json(_path(recipe), asdict(found))
    return found


def _judges_mb(recipe: Recipe) -> int:
    from selfmoa.judge import holds_head

    return _JUDGES_MB if any(holds_head(name) for name in recipe.judges.names()) else 0


def _longest_batch(model: LanguageModel, recipe: Recipe) -> None:
    """A batch on every core as a run has it at its fullest, for the memory that it takes; it is not timed."""
    from selfmoa.generate import Request

    longest = recipe.attack.hidden_max_tokens + recipe.evaluate.max_new_tokens
    text = " ".join(_QUESTIONS * (1 + longest // 8))
    tokens = model.tokenizer(text, add_special_tokens=False)["input_ids"][:longest]
    asked = model.tokenizer.decode(tokens)
    # numbered, for equal prompts share a row
    requests = [Request(user=f"{place} {asked}") for place in range(recipe.generate.batch_size)]
    few = recipe.generate.sampling.model_copy(update={"max_new_tokens": 2})
    model.generate(requests, few, role="target", seed=0, batch_size=recipe.generate.batch_size)


def _rates(model: LanguageModel, recipe: Recipe) -> dict[str, float]:
    from selfmoa.generate import Request

    size = min(recipe.generate.batch_size, 64)
    requests = [Request(user=_QUESTIONS[place % len(_QUESTIONS)]) for place in range(size)]
    drawn = recipe.generate.sampling
    limit = min(drawn.max_new_tokens, _LONGEST)
    drawn = drawn.model_copy(update={"max_new_tokens": limit})
    model.generate(requests[:2], drawn, role="target", seed=0)  # the first call of all prepares kernels
    took, texts = _timed(lambda: model.generate(requests, drawn, role="target", seed=0, batch_size=size))
    written = max(1, sum(text.n_tokens for text in texts))
    rendered = [(model.render(request), text.text) for request, text in zip(requests, texts, strict=True)]
    prompts = sum(model.length(request) for request in requests)
    read, _ = _timed(lambda: model.logprobs(rendered, role=None, batch_size=recipe.judges.batch_size))
    return {
        "sample_seconds": took / written,
        "read_seconds": read / (written + prompts),
        "train_seconds": _training(model, recipe, [text.text for text in texts]),
        "prompt_tokens": prompts / size,
        "filled": min(1.0, max(0.05, written / (size * limit))),
    }


def _training(model: LanguageModel, recipe: Recipe, texts: list[str]) -> float:
    """Seconds a token of one short training by the recipe's own settings."""
    from selfmoa.train import align

    pairs = [
        timing_pair(
            place, _QUESTIONS[place % len(_QUESTIONS)], texts[place % len(texts)], texts[-1 - place % len(texts)]
        )
        for place in range(_PAIRS)
    ]
    settings = recipe.train.model_copy(
        update={
            "epochs": 1.0,
            "validation_fraction": 0.0,
            "batch_size": recipe.train.micro_batch_size,
            "label_smoothing": 0.0,
        }
    )
    with tempfile.TemporaryDirectory() as place:
        align(model, pairs[:2], settings, directory=Path(place), seed=0)  # warm
        outcome = align(model, pairs, settings, directory=Path(place), seed=0)
    return outcome.seconds / max(1, outcome.trained_tokens)


def timing_pair(place: int, prompt: str, chosen: str, rejected: str) -> Pair:
    """A harmless pair; which answer is preferred matters to no measurement of time."""
    from selfmoa.records import Pair

    return Pair(
        id=f"pair {place}",
        round=0,
        attack_id=f"prompt {place}",
        kind="benign",
        hazard="none",
        prompt=prompt,
        chosen=chosen.strip() or "Yes.",
        rejected=rejected.strip() or "No.",
        chosen_id=f"chosen {place}",
        rejected_id=f"rejected {place}",
        chosen_safety=0.6,
        rejected_safety=0.4,
        chosen_helpfulness=0.6,
        rejected_helpfulness=0.4,
        chosen_guided=False,
        rejected_guided=False,
        rule="timing",
    )


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found
