"""Pairing rules."""

from __future__ import annotations

from dataclasses import replace

import pytest

from selfmoa.prefer import Candidate, cap_guided, cap_harmless, pair_round, why_not
from selfmoa.recipe import Prefer
from selfmoa.records import Attack, Judgement, Pair, Response, from_text, to_text

WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu"]


def attack(kind: str = "attack") -> Attack:
    return Attack("a", 1, kind, "hazard", "s", "seed", "e", "h", False, 0.1)  # type: ignore[arg-type]


def candidate(
    number: int,
    safety: float | None,
    helpfulness: float | None,
    *,
    refusal: str = "compliance",
    coherence: float = 0.9,
    guided: bool = False,
    text: str | None = None,
) -> Candidate:
    words = text or " ".join(WORDS[(number * 5 + i * (number + 1)) % len(WORDS)] + str(number) for i in range(8))
    response = Response(f"r{number}", "a", 1, number, words, guided, "", 8, "eos", -1.0)
    judgement = Judgement(f"r{number}", "a", 1, safety, helpfulness, coherence, refusal, False)  # type: ignore[arg-type]
    return Candidate(response, judgement)


def pairs(candidates: list[Candidate], kind: str = "attack", **settings: object) -> list[tuple[str, str]]:
    found = pair_round([attack(kind)], candidates, Prefer(**{"max_guided_share": 1.0, **settings})).pairs  # type: ignore[arg-type]
    return [(pair.chosen_id, pair.rejected_id) for pair in found]


def reasons(candidates: list[Candidate], kind: str = "attack", **settings: object) -> list[str]:
    dropped = pair_round([attack(kind)], candidates, Prefer(**{"max_guided_share": 1.0, **settings})).dropped  # type: ignore[arg-type]
    return [item.reason for item in dropped]


class TestPaper:
    def test_first_with_last_second_with_second_last(self) -> None:
        found = [
            candidate(0, 0.2, 0.9),
            candidate(1, 0.9, 0.1),
            candidate(2, 0.5, 0.7),
            candidate(3, 0.5, 0.3),
        ]
        assert pairs(found, pairing="paper") == [("r0", "r1"), ("r2", "r3")]

    def test_chosen_may_be_the_less_safe_one_and_is_counted(self) -> None:
        result = pair_round([attack()], [candidate(0, 0.1, 0.9), candidate(1, 0.9, 0.1)], Prefer(pairing="paper"))
        assert result.pairs[0].less_safe_chosen

    def test_gain_on_safety_alone_makes_a_pair(self) -> None:
        assert pairs([candidate(0, 0.9, 0.50), candidate(1, 0.1, 0.49)], pairing="paper") == [("r0", "r1")]

    def test_no_spread_and_too_close(self) -> None:
        assert reasons([candidate(0, 0.5, 0.5), candidate(1, 0.5, 0.5)], pairing="paper") == ["no spread"]
        assert reasons([candidate(0, 0.5, 0.55), candidate(1, 0.5, 0.5)], pairing="paper") == ["scores too close"]

    def test_abstention_is_counted(self) -> None:
        found = [candidate(0, None, 0.9), candidate(1, 0.9, 0.1), candidate(2, 0.1, 0.8)]
        assert pairs(found, pairing="paper") == [("r2", "r1")]
        assert reasons(found, pairing="paper") == ["an evaluator abstained"]


class TestSafeFirst:
    def test_safe_beats_unsafe_even_if_less_helpful(self) -> None:
        assert pairs([candidate(0, 0.1, 0.9), candidate(1, 0.9, 0.1)]) == [("r1", "r0")]

    def test_a_redirect_beats_a_bare_refusal(self) -> None:
        found = [candidate(0, 0.8, 0.9, refusal="full"), candidate(1, 0.9, 0.1, refusal="full")]
        assert pairs(found) == [("r0", "r1")]

    def test_the_most_helpful_of_the_safe_is_chosen(self) -> None:
        found = [candidate(0, 0.9, 0.2), candidate(1, 0.9, 0.6), candidate(2, 0.1, 0.9)]
        assert pairs(found, max_pairs_per_prompt=1) == [("r1", "r2")]

    def test_an_answer_that_does_not_decline_needs_a_higher_bar(self) -> None:
        unsafe = candidate(1, 0.1, 0.5)
        assert pairs([candidate(0, 0.7, 0.9), unsafe]) == []
        assert pairs([candidate(0, 0.7, 0.9, refusal="full"), unsafe]) == [("r0", "r1")]

    def test_complying_with_an_attack_is_unsafe_unless_clearly_safe(self) -> None:
        found = [candidate(0, 0.95, 0.1, refusal="full"), candidate(1, 0.7, 0.5)]
        assert pairs(found) == []
        assert pairs(found, unsafe_max_undeclined=0.75) == [("r0", "r1")]
        close = [candidate(0, 0.74, 0.1, refusal="full"), candidate(1, 0.7, 0.5)]
        assert reasons(close, unsafe_max_undeclined=0.75) == ["safety scores too close"]

    def test_among_unsafe_ones_no_pair(self) -> None:
        found = [candidate(0, 0.1, 0.9), candidate(1, 0.2, 0.1)]
        assert pairs(found) == [] and reasons(found) == ["no answer safe enough"]

    def test_an_apology_that_complies_is_never_chosen(self) -> None:
        assert pairs([candidate(0, 0.9, 0.9, refusal="partial"), candidate(1, 0.1, 0.5)]) == []

    def test_an_incoherent_answer_is_never_chosen(self) -> None:
        assert pairs([candidate(0, 0.9, 0.9, coherence=0.1), candidate(1, 0.1, 0.5)]) == []

    def test_words_of_ours_need_no_judge_of_coherence(self) -> None:
        unlikely, worse = candidate(0, 0.9, 0.9, coherence=0.1, guided=True, refusal="full"), candidate(1, 0.1, 0.5)
        opened = replace(unlikely, response=replace(unlikely.response, opener=unlikely.response.text))
        gone_on = replace(unlikely, response=replace(unlikely.response, opener=unlikely.response.text[:9]))
        assert pairs([opened, worse]) == [("r0", "r1")] and pairs([gone_on, worse]) == []

    @pytest.mark.parametrize("kind", ["benign", "borderline"])
    def test_on_harmless_prompts_an_answer_beats_a_refusal_whatever_the_safety_votes(self, kind: str) -> None:
        found = [candidate(0, 0.05, 0.4), candidate(1, 0.99, 0.9, refusal="full")]
        assert pairs(found, kind) == [("r0", "r1")]

    def test_on_harmless_prompts_nothing_to_reject_no_pair(self) -> None:
        assert reasons([candidate(0, None, 0.4), candidate(1, None, 0.9)], "benign") == ["no refusal"]

    def test_limit_per_prompt(self) -> None:
        found = [candidate(i, 0.9 if i < 3 else 0.1, 0.5) for i in range(6)]
        assert len(pairs(found, max_pairs_per_prompt=2)) == 2

    def test_unfit_pairs_are_dropped_and_counted(self) -> None:
        same = [
            candidate(0, 0.9, 0.5, text="one two three four"),
            candidate(1, 0.1, 0.5, text="one two three four."),
        ]
        assert reasons(same) == ["nearly identical"]
        longer = [candidate(0, 0.9, 0.5, text="word"), candidate(1, 0.1, 0.5, text="other " * 9)]
        assert reasons(longer) == ["lengths differ too much"]
        empty = [candidate(0, 0.9, 0.5, text=" "), candidate(1, 0.1, 0.5)]
        assert reasons(empty) == ["empty answer"]


def test_dropped_answers_and_dropped_attacks_give_nothing() -> None:
    from dataclasses import replace

    safe, unsafe = candidate(0, 0.9, 0.5), candidate(1, 0.1, 0.5)
    gone = Candidate(replace(safe.response, status="dropped"), safe.judgement)
    assert pairs([gone, unsafe]) == []
    assert pair_round([replace(attack(), status="dropped")], [safe, unsafe], Prefer()).pairs == ()


def voted(number: int, safety: float, votes: dict[str, float], refusal: str = "full") -> Candidate:
    return replace(candidate(number, safety, 0.5, refusal=refusal), votes=votes)


class TestWorstOfJury:
    SAFE = voted(0, 0.8, {"one": 0.9, "two": 0.7})
    UNSAFE = voted(1, 0.3, {"one": 0.1, "two": 0.5}, "compliance")

    def test_the_margin_is_that_of_the_judge_who_sees_least(self) -> None:
        result = pair_round([attack()], [self.SAFE, self.UNSAFE], Prefer(max_guided_share=1.0))
        assert result.pairs[0].safety_margin == pytest.approx(0.2)
        plain = pair_round([attack()], [self.SAFE, self.UNSAFE], Prefer(max_guided_share=1.0, worst_of_jury=False))
        assert plain.pairs[0].safety_margin is None

    def test_a_pair_that_one_judge_orders_the_other_way_is_dropped(self) -> None:
        parted = replace(self.UNSAFE, votes={"one": 0.0, "two": 0.75})
        assert reasons([self.SAFE, parted]) == ["safety scores too close"]
        assert pairs([self.SAFE, parted], worst_of_jury=False) == [("r0", "r1")]

    def test_the_papers_rule_knows_no_worst_judge(self) -> None:
        found = [replace(self.SAFE, votes={"one": 0.0}), replace(self.UNSAFE, votes={"one": 1.0})]
        result = pair_round([attack()], found, Prefer(pairing="paper"))
        assert result.pairs and result.pairs[0].safety_margin is None

    def test_why_not(self) -> None:
        assert why_not(self.SAFE, self.UNSAFE, Prefer()) == ""
        assert "chosen answer is not safe" in why_not(self.UNSAFE, self.SAFE, Prefer())
        assert "rejected answer is not unsafe" in why_not(self.SAFE, self.SAFE, Prefer())


def test_doubted_pairs_are_left_out_before_the_caps() -> None:
    found = [candidate(0, 0.9, 0.5, refusal="full"), candidate(1, 0.1, 0.5)]
    result = pair_round(
        [attack()], found, Prefer(max_guided_share=1.0), lambda pairs: {pair.id: "turned" for pair in pairs}
    )
    assert result.pairs == () and [item.reason for item in result.dropped] == ["turned"]


def make_pair(number: int, *, guided: bool, kind: str = "attack") -> Pair:
    return Pair(
        f"{number:03d}",
        1,
        "a",
        kind,
        "h",
        "p",
        "c",
        "r",
        "c",
        "r",
        0.9,
        0.1,
        0.5,
        0.5,
        guided,
        False,
        "rule",  # type: ignore[arg-type]
    )


def test_guided_share_is_capped_and_taken_evenly() -> None:
    plain = [make_pair(i, guided=False) for i in range(6)]
    mixed = [make_pair(10 + i, guided=True, kind="attack" if i < 8 else "benign") for i in range(16)]
    kept, left = cap_guided([*plain, *mixed], 0.5)
    taken = [pair for pair in kept if pair.chosen_guided]
    assert len(taken) == 6 and len(kept) + len(left) == 22
    assert sum(pair.kind == "attack" for pair in taken) == 3
    assert cap_guided(mixed, 1.0) == (mixed, [])


def test_harmless_pairs_are_capped_and_every_prompt_keeps_one_first() -> None:
    attacks = [make_pair(i, guided=False) for i in range(4)]
    harmless = [replace(make_pair(10 + i, guided=False, kind="benign"), attack_id=f"p{i % 3}") for i in range(9)]
    kept, left = cap_harmless([*attacks, *harmless], 0.5)
    taken = [pair for pair in kept if pair.kind != "attack"]
    assert len(taken) == 4 and len(left) == 5
    assert {pair.attack_id for pair in taken} == {"p0", "p1", "p2"}
    assert cap_harmless(harmless, 0.5) == (harmless, []), "without attack pairs nothing is capped"


def test_the_order_in_which_answers_come_does_not_matter() -> None:
    found = [candidate(i, 0.9 if i % 2 else 0.1, 0.1 * i) for i in range(6)]
    pairs_of = [
        set(pair_round([attack()], order, Prefer()).pairs) for order in (found, found[::-1], found[3:] + found[:3])
    ]
    assert pairs_of[0] and pairs_of[0] == pairs_of[1] == pairs_of[2]


def with_further(item: Candidate, **values: float | None) -> Candidate:
    return replace(item, judgement=replace(item.judgement, further=to_text(values)))


class TestPareto:
    """Safety and helpfulness of four answers, worked by hand: only r0 > r2 and r1 > r3, r0 > r3 dominate."""

    FOUND = (
        candidate(0, 0.9, 0.6),
        candidate(1, 0.5, 0.9),
        candidate(2, 0.8, 0.1),  # r0: +0.1 and +0.5; r1: -0.3
        candidate(3, 0.2, 0.4),  # r1: +0.3 and +0.5 = 0.8; r0: +0.7 and +0.2 = 0.9
    )

    def test_chosen_is_as_good_on_every_objective_and_the_largest_gain_comes_first(self) -> None:
        # r0 beats r3 by the most (0.9), which uses both up; of r1 and r2 neither dominates
        assert pairs(list(self.FOUND), pairing="pareto") == [("r0", "r3")]
        assert pairs([*self.FOUND[:3]], pairing="pareto") == [("r0", "r2")]
        assert pairs([self.FOUND[1], self.FOUND[3]], pairing="pareto") == [("r1", "r3")]
        result = pair_round([attack()], list(self.FOUND), Prefer(pairing="pareto", max_guided_share=1.0))
        assert result.pairs[0].rule.startswith("pareto") and not result.pairs[0].less_safe_chosen
        assert result.pairs[0].safety_margin is None

    def test_safe_but_less_helpful_makes_no_pair(self) -> None:
        found = [candidate(0, 0.9, 0.1), candidate(1, 0.1, 0.9)]
        assert pairs(found) == [("r0", "r1")]
        assert reasons(found, pairing="pareto") == ["no answer dominates"]
        assert why_not(*found, Prefer(pairing="pareto")) == "the chosen answer is worse on an objective"

    def test_equal_on_one_objective_is_good_enough_too_small_a_gain_is_not(self) -> None:
        assert pairs([candidate(0, 0.9, 0.5), candidate(1, 0.2, 0.5)], pairing="pareto") == [("r0", "r1")]
        close = [candidate(0, 0.55, 0.55), candidate(1, 0.5, 0.5)]
        assert pairs(close, pairing="pareto") == [] and why_not(*close, Prefer(pairing="pareto")) == "scores too close"
        assert pairs(close, pairing="pareto", delta_min=0.04) == [("r0", "r1")]

    def test_a_further_objective_has_its_say(self) -> None:
        better, worse = candidate(0, 0.9, 0.6), candidate(1, 0.2, 0.4)
        long = [with_further(better, brevity=0.3), with_further(worse, brevity=0.5)]
        assert reasons(long, pairing="pareto") == ["no answer dominates"]
        brief = [with_further(better, brevity=0.5), with_further(worse, brevity=0.5)]
        [pair] = pair_round([attack()], brief, Prefer(pairing="pareto", max_guided_share=1.0)).pairs
        assert from_text(pair.chosen_further) == {"brevity": 0.5} == from_text(pair.rejected_further)
        alone = [with_further(better, brevity=0.5), with_further(candidate(1, 0.9, 0.6), brevity=0.2)]
        assert pairs(alone, pairing="pareto") == [("r0", "r1")], "brevity alone may decide"
        unscored = [with_further(better, brevity=None), with_further(worse, brevity=0.5)]
        assert reasons(unscored, pairing="pareto") == ["an evaluator abstained", "fewer than two scored answers"]

    def test_on_harmless_prompts_answering_takes_the_place_of_safety(self) -> None:
        found = [candidate(0, None, 0.6), candidate(1, None, 0.6, refusal="full")]
        assert pairs(found, "benign", pairing="pareto") == [("r0", "r1")]
        helpful_refusal = [candidate(0, 0.1, 0.4), candidate(1, 0.99, 0.9, refusal="full")]
        assert reasons(helpful_refusal, "benign", pairing="pareto") == ["no answer dominates"]

    def test_chosen_is_coherent_and_does_not_decline_to_comply(self) -> None:
        worse = candidate(1, 0.1, 0.1)
        assert pairs([candidate(0, 0.9, 0.9, coherence=0.1), worse], pairing="pareto") == []
        assert pairs([candidate(0, 0.9, 0.9, refusal="partial"), worse], pairing="pareto") == []


def test_pairs_of_learnable_prompts_are_the_last_to_be_left_out() -> None:
    attacks = [replace(make_pair(i, guided=False), attack_id="a") for i in range(2)]
    harmless = [replace(make_pair(10 + i, guided=False, kind="benign"), attack_id=f"p{i}") for i in range(6)]
    by_default, _ = cap_harmless([*attacks, *harmless], 0.5)
    last = [pair.attack_id for pair in harmless if pair not in by_default]
    order = {last[0]: 1.0, last[1]: 0.5}
    kept, _ = cap_harmless([*attacks, *harmless], 0.5, order)
    assert {pair.attack_id for pair in kept} == {"a", last[0], last[1]}
    mixed = [replace(make_pair(i, guided=True), attack_id=f"p{i}") for i in range(6)]
    plain = [make_pair(10 + i, guided=False) for i in range(2)]
    out = [pair.attack_id for pair in cap_guided([*mixed, *plain], 0.5)[1]]
    kept, left = cap_guided([*mixed, *plain], 0.5, {out[0]: 0.1, out[1]: 0.2})
    assert {pair.attack_id for pair in kept} >= set(out[:2]) and len(left) == 4


def test_two_answers_are_paired_once_however_often_they_were_given() -> None:
    safe = candidate(0, 0.9, 0.9, text="I will not help with that, sorry to say so", refusal="full")
    unsafe = [candidate(number, 0.1, 0.5, text="Here is what you asked for, step by step") for number in (1, 2, 3)]
    assert pairs([safe, *unsafe], max_pairs_per_prompt=3) == [("r0", "r1")]
    assert reasons([safe, *unsafe], max_pairs_per_prompt=3).count("the same two answers again") == 2
