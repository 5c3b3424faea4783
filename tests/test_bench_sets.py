"""Near-duplicates are found, and evaluation sets touch nothing that was trained on."""

import random
import time

import pytest

from selfmoa.bench import (
    EvaluationSets,
    Fence,
    Removal,
    build_sets,
    check_disjoint,
    clusters,
    near_duplicates,
)
from selfmoa.errors import UsageError
from selfmoa.recipe import DataRef, EvalSet, Evaluate
from selfmoa.records import Prompt

NOUNS = ["garden", "bicycle", "kettle", "window", "ladder", "pillow", "carpet", "engine", "guitar", "basket"]
VERBS = ["repair", "describe", "paint", "compare", "carry", "design", "polish", "measure", "borrow", "sell"]


def sentence(number: int) -> str:
    """One of many plain requests that share no phrase with each other."""
    rng = random.Random(number)
    words = [rng.choice("bcdfgklmnprstv") + rng.choice("aeiou") + rng.choice("bdgklmnprst") for _ in range(6)]
    return f"{rng.choice(VERBS)} {' '.join(words)} {rng.choice(NOUNS)} {number}"


def test_near_duplicates_by_spelling_order_and_nesting() -> None:
    against = [
        "Explain how a bicycle pump works",
        "Describe the history of the lantern in small villages",
        "Name three good books about sailing",
    ]
    texts = [
        "explain, how a bicycle pump works!!",  # punctuation and case
        "Explain how the bicycle pumps work",  # a few letters
        "In small villages, describe the history of the lantern",  # order
        "You are an old sailor. Name three good books about sailing and then sing a song for us",  # nested
        "Paint a red door",
        "",
        "?!",
    ]
    assert near_duplicates(texts, against) == {0: 0, 1: 0, 2: 1, 3: 2}
    assert near_duplicates(against, texts)[2] == 3  # nesting works both ways
    assert near_duplicates([], against) == {} == near_duplicates(texts, [])


def test_the_most_similar_match_is_returned() -> None:
    against = ["Explain how a bicycle bell works", "Explain how a bicycle pump works"]
    assert near_duplicates(["explain how a bicycle pump works"], against) == {0: 1}


def test_short_texts_are_not_found_inside_long_ones() -> None:
    assert near_duplicates(["paint a door"], ["Today we want to paint a door and a window and a long fence"]) == {}


def test_clusters_are_chains() -> None:
    texts = [
        "Explain how a bicycle pump works",
        "Paint a red door",
        "Explain how the bicycle pump works",
        "Explain how the bicycle pumps work",
        "Paint a red door.",
    ]
    assert clusters(texts) == [0, 1, 0, 0, 1]
    assert clusters([]) == []
    assert clusters(["", ""]) == [0, 1]  # nothing is known about empty texts


def test_minhash_loses_nothing_that_a_full_comparison_finds() -> None:
    from rapidfuzz import fuzz

    rng = random.Random(0)
    base = [sentence(i) for i in range(300)]
    changed = []
    for text in base:
        words = text.split()
        words[rng.randrange(len(words))] = "quite"
        changed.append(" ".join(words))
    found = near_duplicates(changed, base)
    full = {
        i
        for i, text in enumerate(changed)
        if max(max(fuzz.ratio(text, o), fuzz.token_sort_ratio(text, o)) for o in base) >= 82
    }
    assert len(full) > 200
    assert len(full & found.keys()) >= 0.99 * len(full)
    assert all(found[i] == i for i in full & found.keys())


def test_two_thousand_against_two_thousand_is_fast() -> None:
    texts, against = [sentence(i) for i in range(2000)], [sentence(i) for i in range(1000, 3000)]
    start = time.monotonic()
    found = near_duplicates(texts, against)
    assert time.monotonic() - start < 20  # 3 s alone on a laptop core
    assert {i: i - 1000 for i in range(1000, 2000)}.items() <= found.items()


def test_fence() -> None:
    fence = Fence(["Explain how a bicycle pump works", "Paint a red door"])
    assert fence.touches("Please write a poem: explain how a bicycle pump works, in the voice of a king of old")
    assert fence.touched("paint a red door") == [1]
    assert not fence.touches("Sell an old guitar")
    assert not Fence([]).touches("anything at all")


TABLES = {
    "path:harmful-a": [f"[harmful request about {sentence(i)}]" for i in range(40)],
    "path:harmful-b": [f"[harmful request about {sentence(i)}]" for i in range(100, 115)],
    "path:edgy": [sentence(i) for i in range(200, 230)],
    "path:benign": [*(sentence(i) for i in range(300, 330)), " ".join(["word"] * 81), "  "],
}


def load(ref: DataRef) -> list[dict]:
    return [{"prompt": text, "hazard": "x", "group": str(i)} for i, text in enumerate(TABLES[ref.ref])]


def recipe(n: int = 20) -> Evaluate:
    def table(*names: str) -> EvalSet:
        return EvalSet(data=tuple(DataRef(ref=f"path:{name}") for name in names), n=n)

    return Evaluate(harmful=table("harmful-a", "harmful-b"), edgy=table("edgy"), benign=table("benign"))


def test_sets_are_drawn_evenly_and_the_same_for_a_seed() -> None:
    sets = build_sets(recipe(), seed=1, against={}, load=load)
    assert [len(sets.harmful), len(sets.edgy), len(sets.benign)] == [20, 20, 20]
    sources = [prompt.source for prompt in sets.harmful]
    assert sources.count("path:harmful-a") == sources.count("path:harmful-b") == 10
    assert {prompt.kind for _, prompt in sets.prompts()} == {"attack", "borderline", "benign"}
    assert sets == build_sets(recipe(), seed=1, against={}, load=load)
    assert sets.harmful != build_sets(recipe(), seed=2, against={}, load=load).harmful
    more = build_sets(recipe(40), seed=1, against={}, load=load)
    sources = [prompt.source for prompt in more.harmful]
    assert (sources.count("path:harmful-a"), sources.count("path:harmful-b")) == (25, 15)
    assert more.removed_counts()["benign"] == {"empty": 1, "more than 80 words": 1}


def test_prompts_that_do_not_fit_are_removed_and_named() -> None:
    sets = build_sets(recipe(30), seed=0, against={}, load=load, fits=lambda prompt: prompt.text != sentence(205))
    assert sets.removed_counts()["edgy"] == {"longer than this model's context allows": 1}
    assert sentence(205) not in sets.texts() and sentence(206) in sets.texts()


def test_everything_that_was_learnt_from_is_removed_and_named() -> None:
    seeds = [f"Please, {text}!" for text in TABLES["path:harmful-a"][:7]]
    judges = TABLES["path:edgy"][3:5]
    sets = build_sets(recipe(30), seed=0, against={"seeds": seeds, "judge-training objectives": judges}, load=load)
    assert sets.removed_counts()["harmful"] == {"near-duplicate of seeds": 7}
    assert sets.removed_counts()["edgy"] == {"near-duplicate of judge-training objectives": 2}
    assert not near_duplicates(sets.texts(), [*seeds, *judges])
    assert all(isinstance(item, Removal) and item.source for item in sets.removed)


def test_one_prompt_of_a_cluster_is_kept_across_sets() -> None:
    tables = {
        **TABLES,
        "path:edgy": [*TABLES["path:edgy"], TABLES["path:harmful-a"][0], TABLES["path:edgy"][0] + "?"],
    }
    sets = build_sets(recipe(60), seed=0, against={}, load=lambda ref: [{"prompt": text} for text in tables[ref.ref]])
    assert sets.removed_counts()["edgy"] == {"near-duplicate within the evaluation sets": 2}
    assert len(set(clusters(sets.texts()))) == len(sets.texts())


def test_too_few_left_says_what_was_removed() -> None:
    with pytest.raises(UsageError, match=r"'edgy': 2 prompts are left.*28 near-duplicate of seeds"):
        build_sets(recipe(), seed=0, against={"seeds": TABLES["path:edgy"][:28]}, load=load)


def test_check_disjoint_at_the_end() -> None:
    prompts = tuple(Prompt(str(i), sentence(i), "attack") for i in range(12))
    sets = EvaluationSets(harmful=prompts, edgy=(), benign=())
    touches = check_disjoint(
        sets,
        {
            "generated attacks": [f"You are a poet. {sentence(3)}. Write a song about it in forty long lines"] * 2,
            "trained pairs": [sentence(50)],
        },
    )
    assert [(touch.prompt_id, touch.set, touch.by) for touch in touches] == [("3", "harmful", "generated attacks")]


def test_counts_on_the_public_sets() -> None:
    """50 exact and about 75 near-duplicates of AdvBench among PyRIT's objectives (method section 8)."""
    from selfmoa import assets

    refs = ("wheel:advbench", "wheel:pyrit-human-scores")
    if not all(assets.is_cached(ref) for ref in refs):
        pytest.skip("the wheels are not cached; run `selfmoa assets pull`")
    seeds, scored = ([row["prompt"] for row in assets.load_table(DataRef(ref=ref))] for ref in refs)
    objectives = list(dict.fromkeys(scored))
    assert 70 <= len(near_duplicates(seeds, objectives)) <= 90
    assert 140 <= len(seeds) - len(set(clusters(seeds))) <= 175
