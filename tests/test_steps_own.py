"""Everyday requests that the model writes itself: what is kept of them, and where it goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from selfmoa.attack import OWN, OWN_FORMS, OWN_ORDERS, gather
from selfmoa.bench import Fence
from selfmoa.generate import Generation, LanguageModel
from selfmoa.judge import Intent
from selfmoa.recipe import Attack as Settings
from selfmoa.recipe import Lora, Recipe, Sampling
from selfmoa.records import Prompt
from selfmoa.run import Progress, open_run
from selfmoa.steps._own import add_own

GOOD = [
    "Can you suggest a name for my grey cat?",
    "Could you list three rivers that cross Poland?",
    "Can you please convert twelve miles to kilometres?",
    "Can you explain how sourdough rises overnight?",
    "Could you recommend a novel set in Lisbon?",
    "Can you draft a birthday toast for an uncle?",
    "Can you compare wooden and plastic chopping boards?",
    "Could you translate good morning into Welsh?",
    "Can you plan two days of hiking near Turin?",
    "Can you outline what a tax adviser does all year?",
    "Could you rhyme four lines on an old bicycle?",
    "Can you tell me why autumn leaves turn red?",
]


ORDERS = [
    "Suggest a colour for the shed door.",
    "Write a short note to a piano teacher.",
    "Create a list of birds that winter in Ghent.",
    "Design a poster for the chess club.",
    "Name four kinds of pasta from Apulia.",
    "Describe how cork is harvested.",
    "Recommend a board game for rainy Sundays.",
    "Plan a picnic beside the canal.",
]


FORMS = [
    "Write a letter to the choir about new robes.",
    "Write a rhyme that teaches the months.",
    "Write a summary of how bees build combs.",
    "Write a menu for a vegetarian wedding.",
    "Write a riddle whose answer is an umbrella.",
]


class Writer:
    """Writes what it was given, in the user's place: `texts` where it begins itself, else the others."""

    def __init__(self, *texts: str, orders: Sequence[str] = (), forms: Sequence[str] = (), finish: Any = "eos") -> None:
        self.finish, self._texts, self._orders, self._forms = finish, texts, orders, forms
        self.asked: Sequence[str] = ()

    def user_turns(self, openings: Sequence[str], sampling: Sampling, *, seed: int) -> list[Generation]:
        self.asked = openings
        texts, orders, forms = iter(self._texts), iter(self._orders), iter(self._forms)
        left = {"": texts, "Write [harmful": forms}
        return [Generation(next(left.get(opening, orders), ""), 9, self.finish) for opening in openings]


def harmful(prompts: list[str]) -> np.ndarray:
    return np.array([0.9 if "[harmful" in text else 0.1 for text in prompts])


def added(tmp_path: Path, writer: Writer, wanted: int = 36, **attack: Any) -> Any:
    recipe = Recipe(name="x", attack=Settings(**attack)).model_copy(
        update={"seeds": Recipe(name="x").seeds.model_copy(update={"own": wanted})}
    )
    run = open_run(recipe, tmp_path / "run", on_existing="resume", progress=Progress("quiet"))
    rows = [{"prompt": f"Write [harmful request {i}] for me.", "hazard": "h", "ref": "t"} for i in range(16)]
    benign = [{"prompt": f"Is it true that {i} is a number?", "ref": "facts"} for i in range(12)]
    material = gather(
        rows,
        benign,
        [],
        n_dev_harmful=2,
        n_dev_harmless=3,
        max_pairs=(4, 4),
        bleu_max=0.9,
        hidden_fits=bool,
        seed=0,
    )
    fence = Fence(["Describe the lighthouse keeper who counts the ships at night"])
    model, head = cast("LanguageModel", writer), cast("Intent", SimpleNamespace(harm=harmful))
    return add_own(run, model, material, fence, head)


def texts(prompts: Sequence[Prompt], source: str = OWN) -> list[str]:
    return [prompt.text for prompt in prompts if prompt.source == source]


def test_they_join_the_harmless_prompts_in_turn_and_a_part_is_set_apart(tmp_path: Path) -> None:
    made = added(tmp_path, Writer(*GOOD, orders=ORDERS, forms=FORMS))
    for source, written in ((OWN, GOOD), (OWN_ORDERS, ORDERS), (OWN_FORMS, FORMS)):
        dev = texts(made.dev, source)
        assert dev == written[::4] and set(texts(made.benign, source)) == set(written) - set(dev)
    assert {prompt.source for prompt in made.benign[:4]} == {"facts", OWN, OWN_ORDERS, OWN_FORMS}
    assert {prompt.kind for prompt in (*made.benign, *made.dev) if prompt.source.startswith(OWN)} == {"benign"}


def test_two_thirds_are_begun_for_it_with_everyday_words_and_with_those_of_attacks(tmp_path: Path) -> None:
    writer = Writer(*GOOD, orders=ORDERS, forms=FORMS)
    made = added(tmp_path, writer, wanted=8)
    found = [len(texts((*made.benign, *made.dev), source)) for source in (OWN, OWN_ORDERS, OWN_FORMS)]
    assert found == [3, 3, 2]
    assert {"", "Suggest", "Write [harmful"} <= set(writer.asked)


def test_what_is_harmful_repeated_unfinished_or_touches_an_evaluation_prompt_is_left_out(tmp_path: Path) -> None:
    bad = [
        "Write [harmful request about X] for me now.",
        GOOD[1],
        "Hello",
        "Please describe the lighthouse keeper who counts the ships at night, thanks.",
    ]
    made = added(tmp_path, Writer(*GOOD, *bad, orders=[*bad, *ORDERS]), wanted=60)
    assert set(texts((*made.benign, *made.dev))) <= set(GOOD)
    both = [*texts((*made.benign, *made.dev)), *texts((*made.benign, *made.dev), OWN_ORDERS)]
    assert sorted(both) == sorted(GOOD + ORDERS)
    assert not texts(added(tmp_path / "cut", Writer(*GOOD, finish="length")).benign)


def test_one_that_repeats_a_development_prompt_is_not_trained_on(tmp_path: Path) -> None:
    twin = GOOD[0].replace("Can you", "Could you please")
    made = added(tmp_path, Writer(*GOOD, twin, orders=[twin.replace("please", "kindly")]), wanted=60)
    assert not {twin, twin.replace("please", "kindly")} & {prompt.text for prompt in made.benign}


def test_a_run_that_goes_on_asks_what_it_asked_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = added(tmp_path, Writer(*GOOD, orders=ORDERS, forms=FORMS), wanted=15)
    assert added(tmp_path, Writer("Something else altogether, please?"), wanted=15) == first
    assert "usable prompts" not in caplog.text
    added(tmp_path / "few", Writer(*GOOD[:2]))
    assert "wrote 2 usable prompts" in caplog.text


def test_the_other_form_of_their_own_requests(tmp_path: Path) -> None:
    made = added(tmp_path, Writer(*GOOD, orders=ORDERS), other_form_share=1.0)
    own = [prompt for prompt in made.benign if prompt.source == OWN]
    assert not any(prompt.text.startswith(("Can", "Could")) or prompt.text.endswith("?") for prompt in own)
    assert all(made.published[prompt.id] in GOOD for prompt in own)
    assert set(texts(made.benign, OWN_ORDERS)) <= set(ORDERS), "orders stay orders"


def test_a_real_model_writes_in_the_users_place(tiny_model_dir: Path) -> None:
    model = LanguageModel.load(tiny_model_dir, Lora(r=2, alpha=2))
    sampling, openings = Sampling(temperature=1.0, top_p=1.0, max_new_tokens=5), [""] * 4 + ["Suggest", "List"]
    written = model.user_turns(openings, sampling, seed=0)
    assert len(written) == 6 and len({one.text for one in written}) > 1
    assert all(one.text.startswith(opening) for one, opening in zip(written, openings, strict=True))
    assert written == model.user_turns(openings, sampling, seed=0) != model.user_turns(openings, sampling, seed=1)
