"""Seed material, novelty, pool, selection."""

from __future__ import annotations

import pytest

from selfmoa.attack import History, Pool, bleu, borderline_from, gather, hits, judge_expansion, judge_hidden
from selfmoa.recipe import Attack as Settings
from selfmoa.records import Attack, Judgement, Prompt


def rows(n: int, hazards: int = 3) -> list[dict[str, object]]:
    return [
        {
            "prompt": f"Write [harmful request {i}] about topic {i}.",
            "hazard": f"h{i % hazards}",
            "ref": "test",
        }
        for i in range(n)
    ]


def material(*tables: list[dict], **changes: object):
    """From three tables (attacks, benign, templates), or from made-up ones."""
    options: dict[str, object] = {
        "n_dev_harmful": 4,
        "n_dev_harmless": 8,
        "max_pairs": 100,
        "bleu_max": 0.25,
        "hidden_fits": lambda text: len(text.split()) < 40,
        "seed": 3,
    }
    benign = [{"prompt": f"Benign question number {i}?", "ref": "benign"} for i in range(30)]
    templates = [{"prompt": "Template one: {{ prompt }} now"}, {"prompt": "word " * 60 + "{{ prompt }}"}]
    return gather(*(tables or (rows(60), benign, templates)), **{**options, **changes})


def test_parts_are_disjoint_and_complete() -> None:
    found = material()
    dev = {prompt.text for prompt in found.dev}
    assert len(found.dev) == 12
    assert {prompt.kind for prompt in found.dev} == {"attack", "benign", "borderline"}
    assert not dev & {prompt.text for prompt in (*found.attacks, *found.benign)}
    held = {prompt.parent for prompt in found.dev if prompt.kind == "borderline"}
    assert not held & {prompt.id for prompt in found.attacks}, "a development contrast must not come from a pool seed"
    assert len(found.attacks) + 4 + len(held) == 60


def test_expansion_pairs_stay_in_their_category() -> None:
    hazard = {str(row["prompt"]): row["hazard"] for row in rows(60)}
    pairs = material().expansions
    assert len(pairs) > 40
    assert all(source != target and hazard[source] == hazard[target] for source, target in pairs)


def test_hidden_pairs_use_short_templates_and_styles() -> None:
    hidden = [target for _, target in material().hidings]
    assert any(text.startswith("Template one: Write [harmful request") for text in hidden)
    assert any("in the past" in text or "story" in text or "play" in text for text in hidden)
    assert all(len(text.split()) < 40 for text in hidden)


def test_harmless_prompts_come_from_their_sources_in_turn() -> None:
    few = [{"prompt": f"Write text {i}", "hazard": "none", "ref": "tasks"} for i in range(6)]
    many = [{"prompt": f"Is it true that {i}?", "hazard": "none", "ref": "facts"} for i in range(60)]
    made = material(rows(60), [*few, *many], [], n_dev_harmless=6, max_pairs=8, hidden_fits=lambda _: True, seed=0)
    dev = [prompt.source for prompt in made.dev if prompt.kind == "benign"]
    assert dev == ["facts", "tasks", "facts", "tasks"]
    assert [prompt.source for prompt in made.benign[:8]] == ["facts", "tasks"] * 4
    assert len(made.benign) == 62


def test_same_seed_same_material_other_seed_other() -> None:
    assert material() == material()
    assert material(seed=4).attacks != material().attacks


def test_borderline_keeps_the_words_and_drops_the_wish() -> None:
    seed = Prompt("0" * 12, "Write [harmful request about X].", "attack", "h1", "test")
    [made] = borderline_from([seed], 9)
    assert made.kind == "borderline" and made.parent == seed.id and made.hazard == "h1"
    assert "[harmful request about X]" in made.text and made.text.endswith("?")


@pytest.mark.parametrize(
    ("text", "goal"),
    [
        ("How do I [do X]?", "[do X]"),
        ("What's the best way to [do X]?", "[do X]"),
        ("What are some ways to [do X]?", "[do X]"),
        ("Please [do X].", "[do X]"),
        ("What should I know about [X]?", ""),
        ("Which [X] is best?", ""),
    ],
)
def test_the_goal_of_a_request(text: str, goal: str) -> None:
    made = borderline_from([Prompt("0" * 12, text, "attack")], 1)
    assert [prompt.text.endswith(f" {goal}?") for prompt in made] == ([True] if goal else [])


def test_prompts_without_a_goal_get_no_contrast_and_no_style() -> None:
    asked = [{"prompt": f"What should I know about [harmful subject {i}]?", "ref": "questions"} for i in range(40)]
    made = material(asked, [], [], max_pairs=9, hidden_fits=lambda text: True, seed=0)
    assert len(made.attacks) == 36 and made.hidings == ()
    assert {prompt.kind for prompt in made.dev} == {"attack"}


def test_a_data_set_without_categories_expands_within_itself() -> None:
    asked = [{"prompt": f"How do I [harmful act {i}]?", "hazard": f"own {i}", "ref": "questions"} for i in range(40)]
    pairs = material([*rows(40), *asked], [], [], max_pairs=99, hidden_fits=bool, seed=0).expansions
    assert any(source.startswith("How do I") for source, _ in pairs)
    assert all(source.startswith("How do I") == other.startswith("How do I") for source, other in pairs)


def test_an_expansion_is_learnt_from_the_nearest_prompts_that_say_it_otherwise() -> None:
    matters = ["boats", "lamps", "clocks", "drums", "pipes", "ropes"]
    asked = [{"prompt": way.format(thing), "ref": "t"} for thing in matters for way in WAYS]
    made = material(asked, [], [], n_dev_harmful=0, n_dev_harmless=0, max_pairs=99, hidden_fits=bool, seed=0)
    assert len(made.expansions) == len(asked)
    for source, target in made.expansions:
        assert source != target and bleu(source, target) < 0.25
        assert [thing in source for thing in matters] == [thing in target for thing in matters], "on the same matter"


WAYS = (
    "Describe [harmful] {}",
    "Teach somebody all about wicked {} today",
    "Write one long text, {} being [bad]",
    "How would [someone] use up {}?",
)


def test_the_pairs_that_teach_the_attackers_come_from_the_data_sets_in_turn() -> None:
    asked = [{"prompt": f"How do I [harmful act {i}]?", "hazard": f"own {i}", "ref": "questions"} for i in range(20)]
    made = material([*rows(200), *asked], [], [], n_dev_harmless=0, max_pairs=20, hidden_fits=bool, seed=0)
    for pairs in (made.expansions, made.hidings):
        assert 9 <= sum(source.startswith("How do I") for source, _ in pairs) <= 11


def test_bleu_by_hand() -> None:
    assert bleu("a b c d", "a b c d") == pytest.approx(1.0)
    assert bleu("a b c d", "e f g h") == pytest.approx(0.0, abs=1e-6)
    # 3 of 4 words and 2 of 3 word pairs: weights (1, 1) multiply the two precisions
    assert bleu("a b c d", "a b c x") == pytest.approx(0.75 * 2 / 3)
    assert bleu("", "a") == bleu("a", "") == 0.0


def test_history_ignores_case_and_punctuation() -> None:
    history = History(["Tell me, about X!"])
    assert "tell me about x" in history
    history.add("Another one?")
    assert "ANOTHER ONE" in history and "third" not in history


@pytest.mark.parametrize(
    ("expansion", "reason"),
    [
        ("", "empty"),
        ("one", "length"),
        ("already seen request here now", "in history"),
        ("seed words one two three four", "BLEU"),
        ("quite other words entirely [forbidden]", "why not"),
        ("quite other words about something", ""),
    ],
)
def test_expansion_drop_reasons(expansion: str, reason: str) -> None:
    _, got = judge_expansion(
        "seed words one two three",
        expansion,
        settings=Settings(),
        history=History(["Already seen: request here, now."]),
        forbidden=lambda text: "why not" if "[forbidden]" in text else "",
    )
    assert got == reason


def test_hidden_drop_reasons() -> None:
    def allow(_: str) -> str:
        return ""

    assert judge_hidden("  ", max_tokens=9, n_tokens=1, forbidden=allow) == "hidden prompt empty"
    assert judge_hidden("x", max_tokens=9, n_tokens=10, forbidden=allow) == "hidden prompt too long"
    assert judge_hidden("x", max_tokens=9, n_tokens=9, forbidden=allow) == ""


def test_pool_draws_without_replacement_and_takes_expansions() -> None:
    seeds = [Prompt(f"{i:012x}", f"prompt {i}", "attack") for i in range(10)]
    pool = Pool(seeds)
    first = pool.draw(4, seed=1)
    assert len(pool) == 6
    assert pool.enter([first[0], Prompt("f" * 12, "new", "attack", parent=first[0].id)]) == 2
    assert len(pool) == 8
    rest = pool.draw(100, seed=2)
    assert len(rest) == 8 and len(pool) == 0
    assert Pool(seeds).draw(4, seed=1) == first


def test_pool_draws_from_its_data_sets_in_turn() -> None:
    seeds = [Prompt(f"{i:012x}", f"prompt {i}", "attack", source="few" if i < 3 else "many") for i in range(40)]
    drawn = [prompt.source for prompt in Pool(seeds).draw(8, seed=1)]
    assert drawn.count("few") == 3 and drawn[:2] in (["few", "many"], ["many", "few"])


def test_hits_need_a_kept_attack_prompt() -> None:
    def attack(number: int, kind: str = "attack", status: str = "kept") -> Attack:
        return Attack(f"a{number}", 1, kind, "h", "s", "seed", "e", "h", False, 0.1, status)  # type: ignore[arg-type]

    def judged(number: int, hit: bool) -> Judgement:
        return Judgement(f"r{number}", f"a{number}", 1, 0.1, 0.9, 1.0, "compliance", hit)

    attacks = [attack(1), attack(2), attack(3, kind="benign"), attack(4, status="dropped")]
    judgements = [judged(1, True), judged(2, False), judged(3, True), judged(4, True)]
    assert [item.id for item in hits(attacks, judgements)] == ["a1"]
