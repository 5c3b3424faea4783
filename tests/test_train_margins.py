"""The arithmetic of the five presets, worked by hand, and what enters it."""

from __future__ import annotations

import pytest
import torch

from selfmoa import recipes
from selfmoa.errors import RecipeError
from selfmoa.recipe import Objective, Recipe, Train
from selfmoa.train import filter_modpo_paper_eq1, first_tokens_share, modpo_loss, objective_scores, shift
from train_helpers import pair, pairs

# One pair: log p(chosen) - log p_ref(chosen) = 0.05, of the rejected 0.02, so d logratio = 0.03;
# safety 0.55 against 0.50, so d r = 0.05. With beta 0.1, w0 0.01, w 0.99:
BY_HAND = {
    # a = 0.1, b = 0.099: ln(1 + e^-(0.003 - 0.00495)) = ln(1 + e^0.00195)
    "self_moa": (0.1, 0.099, 0.69412266),
    # a = 10, b = 9.9: ln(1 + e^-(0.3 - 0.495)) = ln(1 + e^0.195)
    "modpo_paper_eq1": (10.0, 9.9, 0.79539279),
    # a = 10, b = 99: ln(1 + e^-(0.3 - 4.95)) = ln(1 + e^4.65)
    "modpo": (10.0, 99.0, 4.65951618),
    # a = 0.1, b = 0: ln(1 + e^-0.003)
    "dpo": (0.1, 0.0, 0.69164831),
    # a = 0.5, b = 2 (set by hand): ln(1 + e^-(0.015 - 0.1)) = ln(1 + e^0.085)
    "scaled": (0.5, 2.0, 0.73655003),
}


def _train(loss: str) -> Train:
    return Train(loss=loss, a=0.5, b=(2.0,)) if loss == "scaled" else Train(loss=loss)


def _column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("loss", BY_HAND)
def test_preset_worked_by_hand(loss: str) -> None:
    a, b = _train(loss).coefficients()
    assert (a, *b) == pytest.approx(BY_HAND[loss][:2])
    value = modpo_loss(
        (_column(-9.95), _column(-12.98)),
        (_column(-10.0), _column(-13.0)),
        (_column(0.55).reshape(1, 1), _column(0.50).reshape(1, 1)),
        a=a,
        b=b,
    )
    assert float(value) == pytest.approx(BY_HAND[loss][2], abs=1e-8)


@pytest.mark.parametrize("loss", BY_HAND)
def test_shifted_reference_is_the_formula(loss: str) -> None:
    a, b = _train(loss).coefficients()
    plain = a * ((-9.95 + 10.0) - (-12.98 + 13.0)) - b[0] * (0.55 - 0.50)
    shifted = a * ((-9.95 - (-10.0 + shift([0.55], a, b))) - (-12.98 - (-13.0 + shift([0.50], a, b))))
    assert shifted == pytest.approx(plain, abs=1e-9)


def test_shift_sums_over_any_number_of_objectives() -> None:
    assert shift([0.5, 0.25, 1.0], 2.0, [4.0, 8.0, -1.0]) == pytest.approx((2.0 + 2.0 - 1.0) / 2.0)
    with pytest.raises(ValueError):
        shift([0.5], 2.0, [1.0, 1.0])


def test_scores_follow_the_objectives_by_name() -> None:
    train = Train(objectives=(Objective(name="helpfulness", weight=0.5), Objective(name="safety", weight=0.5)))
    margins = objective_scores([pair(0)], train)
    assert margins.chosen == ((0.4, 0.9),)
    assert margins.rejected == ((0.6, 0.2),)
    assert margins.missing == 0


def test_a_worst_of_jury_margin_takes_the_place_of_the_difference() -> None:
    found = objective_scores([pair(0, safety_margin=0.25)], Train())
    assert found.chosen[0][0] - found.rejected[0][0] == pytest.approx(0.25)
    unscored = objective_scores([pair(0, safety_margin=None, chosen_safety=None)], Train())
    assert unscored.missing == 1


def test_without_objectives_there_is_no_margin() -> None:
    found = objective_scores([pair(0), pair(1)], Train(objectives=()))
    assert found.chosen == found.rejected == ((), ())


def test_missing_scores_give_no_margin_and_are_counted() -> None:
    margins = objective_scores([pair(0, rejected_safety=None), pair(1)], Train())
    assert margins.chosen == ((0.0,), (0.9,))
    assert margins.rejected == ((0.0,), (0.2,))
    assert margins.missing == 1


def test_safety_is_ignored_on_harmless_prompts_unless_asked() -> None:
    harmless = [pair(0, kind="borderline"), pair(1, kind="benign")]
    assert objective_scores(harmless, Train()).chosen == ((0.0,), (0.0,))
    kept = objective_scores(harmless, Train(), ignore_safety_on_harmless=False)
    assert kept.chosen == ((0.9,), (0.9,))


def test_scaled_standardises_each_objective() -> None:
    train = Train(loss="scaled", a=1.0, b=(1.0,))
    made = [pair(0, chosen_safety=0.8, rejected_safety=0.4), pair(1, chosen_safety=0.6, rejected_safety=None)]
    margins = objective_scores(made, train)
    # values 0.8 and 0.4 have standard deviation 0.2; the unscored pair counts for nothing
    assert margins.chosen[0][0] - margins.rejected[0][0] == pytest.approx(2.0)
    assert margins.chosen[1] == margins.rejected[1] == (0.0,)
    equal = objective_scores(pairs(3, chosen_safety=0.5, rejected_safety=0.5), train)
    assert equal.chosen == ((0.0,),) * 3


def test_eq1_drops_pairs_whose_chosen_is_less_safe() -> None:
    worse = {"chosen_safety": 0.1, "rejected_safety": 0.8}
    made = [pair(0), pair(1, **worse), pair(2, kind="benign", **worse), pair(3, chosen_safety=None)]
    assert [item.id for item in filter_modpo_paper_eq1(made)] == ["pair0", "pair2", "pair3"]
    strict = filter_modpo_paper_eq1(made, ignore_safety_on_harmless=False)
    assert [item.id for item in strict] == ["pair0", "pair3"]


FORBIDDEN = [
    *(
        "ipo",
        "sigmoid_norm",
        "apo_zero",
        "apo_down",
        "aot",
        "aot_unpaired",
        "nca_pair",
        "bco_pair",
        "sppo_hard",
    ),
    *("hinge", "exo_pair", "discopop"),
]


@pytest.mark.parametrize("name", FORBIDDEN)
def test_losses_that_cannot_carry_the_shift_are_refused(name: str) -> None:
    with pytest.raises(RecipeError, match=rf"train: train\.loss_type '{name}'"):
        recipes.with_overrides(Recipe(name="x"), [f"train.loss_type=[{name}]"])
    with pytest.raises(RecipeError, match=name):
        recipes.with_overrides(
            Recipe(name="x"), [f"train.loss_type=[sigmoid, {name}]", "train.loss_weights=[1.0, 0.5]"]
        )


@pytest.mark.parametrize("name", ["forward_kl", "js_divergence", "alpha_divergence"])
def test_other_divergences_are_refused(name: str) -> None:
    with pytest.raises(RecipeError, match=r"train\.f_divergence"):
        recipes.with_overrides(Recipe(name="x"), [f"train.f_divergence={name}"])


def test_sft_term_is_allowed() -> None:
    recipe = recipes.with_overrides(
        Recipe(name="x"), ["train.loss_type=[sigmoid, sft]", "train.loss_weights=[1.0, 0.1]"]
    )
    assert recipe.train.loss_weights == (1.0, 0.1)


def test_first_tokens_share_by_hand() -> None:
    """Chosen gains 1 + 0 + 1, rejected loses 2 + 0 + 0: 4 nats in all, 3 of them in the first token."""
    before = [([-2.0, -1.0, -3.0], [-1.0, -1.0, -1.0])]
    after = [([-1.0, -1.0, -2.0], [-3.0, -1.0, -1.0])]
    assert first_tokens_share(before, after, n=1) == pytest.approx(3 / 4)
    assert first_tokens_share(before, after, n=5) == pytest.approx(1.0)
    assert first_tokens_share(before, before) is None


def test_a_further_objective_enters_the_margin_with_its_own_weight() -> None:
    train = Train(objectives=(Objective(), Objective(name="brevity", weight=0.5)))
    scored = pair(0, chosen_further='{"brevity": 0.75}', rejected_further='{"brevity": 0.25}')
    margins = objective_scores([scored, pair(1)], train)
    assert margins.chosen == ((0.9, 0.75), (0.9, 0.0)) and margins.rejected == ((0.2, 0.25), (0.2, 0.0))
    assert margins.missing == 1, "the second pair has no brevity"
    a, b = train.coefficients()
    assert b == pytest.approx((0.099, 0.05))
    # 0.099 * (0.9 - 0.2) + 0.05 * (0.75 - 0.25) = 0.0693 + 0.025
    margin = a * (shift(margins.chosen[0], a, b) - shift(margins.rejected[0], a, b))
    assert margin == pytest.approx(0.0943)
    on_harmless = objective_scores([pair(0, kind="benign", chosen_further='{"brevity": 0.75}')], train)
    assert on_harmless.chosen == ((0.0, 0.0),), "safety is ignored there, brevity of one side alone gives no margin"


def test_an_objective_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="names safety more than once"):
        Train(objectives=(Objective(), Objective(weight=0.1)))
