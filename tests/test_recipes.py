"""Every shipped recipe, and what reading a recipe refuses."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from selfmoa import api, recipes
from selfmoa.errors import RecipeError
from selfmoa.judge import preset_note
from selfmoa.recipe import Recipe

BUDGETS = ["medium", "large"]
PAPER = ["paper/gemma-2-2b-it", "paper/gemma-3-1b-it", "paper/llama-3.2-1b", "paper/qwen2.5-1.5b"]
MEASURED = ["train.loss_type=[robust]", "train.label_smoothing=measured"]
BASELINES = [
    f"baselines/{name}"
    for name in (
        *("original", "safety_prompt", "static_dpo", "dpo", "paper", "modpo", "sft_best", "safedpo", "human_modpo"),
    )
]


def _write(directory: Path, name: str, text: str) -> Path:
    path = directory / name
    path.write_text(text, encoding="utf-8")
    return path


# -- shipped --------------------------------------------------------------------------------------------


def test_there_are_shipped_recipes() -> None:
    """A glob that finds nothing would let the next tests pass over nothing."""
    assert {"demo", "smoke", "paper/base", *BUDGETS, *PAPER, *BASELINES} <= set(recipes.names())


@pytest.mark.parametrize("name", recipes.names())
def test_every_shipped_recipe_reads_and_round_trips(name: str, tmp_path: Path) -> None:
    recipe = recipes.load(name)
    again = recipes.load(_write(tmp_path, "again.yaml", recipes.dump(recipe)))
    assert again == recipe
    assert recipes.fingerprint(again) == recipes.fingerprint(recipe)


def test_names_and_fingerprints_differ() -> None:
    loaded = [recipes.load(name) for name in recipes.names()]
    assert len({recipe.name for recipe in loaded}) == len(loaded)
    assert len({recipes.fingerprint(recipe) for recipe in loaded}) == len(loaded)


def test_reattack_trains_attackers_and_never_the_target() -> None:
    recipe = recipes.load("reattack")
    most = recipe.attack.k * recipe.generate.m * recipe.loop.n_rounds
    assert recipe.train.align_at > most and not recipe.loop.stage_at_end and recipe.attack.retrain_at < 12


@pytest.mark.parametrize("name", BUDGETS)
def test_recipes_for_a_gpu_name_judges_that_may_be_used_commercially(name: str) -> None:
    recipe = recipes.load(name)
    assert "GPU" in recipe.description and "NOT RUN HERE" in recipe.description
    api.check(recipe)
    presets = [
        note for ref in recipe.judges.train.refs() + recipe.judges.gate.refs() if (note := preset_note(ref.name))
    ]
    assert len(presets) == 4 and all(note.commercial and not note.gated for note in presets)
    planned = api.plan(recipes.load(name, ["model.ref=path:path/to/model"]))
    assert {asset["ref"] for asset in planned["assets"]} >= {note.model for note in presets} | {"path:path/to/model"}


def test_a_recipe_upon_the_demo_may_name_one_judge(tmp_path: Path) -> None:
    path = _write(tmp_path, "one.yaml", "name: one\nextends: demo\njudges: {gate: {safety: [shieldgemma-2b]}}\n")
    gate = recipes.load(path).judges.gate
    assert [judge.name for judge in gate.safety] == ["shieldgemma-2b"]
    assert gate.helpfulness == Recipe(name="x").judges.gate.helpfulness
    assert recipes.load("demo").judges == Recipe(name="x").judges, "the demo's are the defaults"


@pytest.mark.parametrize("name", PAPER)
def test_paper_recipes_are_the_papers(name: str) -> None:
    recipe = recipes.load(name)
    assert recipe.faithful and recipe.loop.n_rounds == 15 and recipe.attack.k == 1000
    assert (recipe.attack.retrain_at, recipe.train.align_at) == (1000, 1000)
    a, b = recipe.train.coefficients()
    assert (a, *b) == pytest.approx((0.1, 0.099))
    lora = recipe.model.lora
    assert (lora.r, lora.alpha, lora.dropout, len(lora.target_modules)) == (64, 128, 0.05, 7)
    batches = recipe.train.batch_size, recipe.attack.hider.sft.batch_size, recipe.attack.expand.sft.batch_size
    lengths = recipe.train.max_length, recipe.attack.hider.sft.max_length, recipe.attack.expand.sft.max_length
    warmups = (
        *(recipe.train.warmup_steps, recipe.attack.hider.sft.warmup_steps),
        recipe.attack.expand.sft.warmup_steps,
    )
    assert (batches, lengths, warmups) == ((4, 16, 256), (512, 512, 256), (3, 10, 10))
    assert {recipe.train.lr, recipe.attack.hider.sft.lr, recipe.attack.expand.sft.lr} == {3e-5}
    judges = recipe.judges
    assert [judge.name for judge in judges.train.safety + judges.train.helpfulness] == [
        "llama-guard-3-8b",
        "ultrarm-13b",
    ]
    assert [judge.name for judge in judges.gate.safety + judges.gate.helpfulness] == [
        "absolute-harmfulness",
        "gpt2-large-helpful",
    ]
    owner, _, revision = recipe.model.ref.removeprefix("hub:").partition("@")
    assert owner.count("/") == 1 and len(revision) == 40


@pytest.mark.parametrize(
    "override",
    [
        "attack.benign_fraction=0.25",
        "attack.plain_fraction=0.1",
        "attack.replay_fraction=0.5",
        "attack.restart_refusal_rate=0.5",
        "generate.guided_fraction=0.25",
        "prefer.pairing=safe_first",
        "train.loss=modpo",
        "stage.check=true",
        "attack.static=true",
        "evaluate.system=Be kind.",
    ],
)
def test_faithful_refuses_each_departure(override: str) -> None:
    field = override.partition("=")[0]
    with pytest.raises(RecipeError, match=f"faithful: true contradicts {field}"):
        recipes.load(PAPER[0], [override])
    recipes.load(PAPER[0], [override, "faithful=false"])


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_are_measured_as_the_demo_is(name: str) -> None:
    """Same prompts, same judges, or their figures could not be set beside the demo's."""
    demo, recipe = recipes.load("demo"), recipes.load(name)
    assert recipe.judges.gate == demo.judges.gate and recipe.seed == demo.seed
    assert recipe.seeds.model_copy(update={"own": demo.seeds.own}) == demo.seeds, "the paper has no requests of its own"
    assert recipe.evaluate.model_copy(update={"system": ""}) == demo.evaluate
    split = ("n_harmless", "n_harmful")
    assert [getattr(recipe.stage, key) for key in split] == [getattr(demo.stage, key) for key in split]
    assert recipe.attack.k * recipe.generate.m == demo.attack.k * demo.generate.m, "as many answers"


@pytest.mark.parametrize(
    ("name", "coefficients"),
    [
        ("dpo", (0.1, 0.0)),
        ("static_dpo", (0.1, 0.0)),
        ("paper", (0.1, 0.099)),
        ("modpo", (0.2, 1.0)),
        ("human_modpo", (0.2, 1.0)),
        ("safedpo", (0.1, 10.0)),
    ],
)
def test_losses_of_the_baselines(name: str, coefficients: tuple[float, float]) -> None:
    train = recipes.load(f"baselines/{name}").train
    a, b = train.coefficients()
    assert (a, *b) == pytest.approx(coefficients)
    assert train.loss_type == ("sigmoid",) and train.loss_weights == (1.0,), "no SFT term beside the loss"


# -- overrides ------------------------------------------------------------------------------------------


def test_overrides_are_typed_and_checked() -> None:
    recipe = recipes.load(
        "demo",
        [
            "attack.k=32",
            "train.lr=3e-5",
            "name=mine",
            "stage.steps=[1.0, 0.5]",
            "train.epochs=2",
            "stage.check=false",
        ],
    )
    assert (recipe.attack.k, recipe.train.lr, recipe.name) == (32, 3e-5, "mine")
    assert recipe.stage.steps == (1.0, 0.5) and recipe.stage.check is False
    assert recipe.attack.tries == recipes.load("demo").attack.tries


def test_overrides_reach_inside_a_default_section() -> None:
    recipe = recipes.with_overrides(Recipe(name="x"), ["attack.hider.sampling.temperature=0.5"])
    assert recipe.attack.hider.sampling.temperature == 0.5
    assert recipe.attack.hider.sampling.max_new_tokens == 300


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("attack.k", "field.name=value"),
        ("=3", "field.name=value"),
        ("attack.k=many", r"attack\.k: .*integer.*'many'"),
        ("attack.k=0", r"attack\.k: .*greater than or equal to 1.*\(got 0\)"),
        ("attack.k.more=1", "is a value, not a section"),
        ("attack.k=[1", "not YAML"),
        ("attack.bleu_maximum=0.3", r"attack\.bleu_maximum: unknown field\. Did you mean 'bleu_max'\?"),
        ("trian.lr=1e-3", r"trian: unknown field\. Did you mean 'train'\?"),
    ],
)
def test_bad_overrides_say_what_is_wrong(override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipes.load("demo", [override])


# -- files ----------------------------------------------------------------------------------------------


def test_unknown_field_names_the_nearest(tmp_path: Path) -> None:
    path = _write(tmp_path, "r.yaml", "name: x\ntrain:\n  learning_rates: 0.1\n  epoch: 3\n")
    with pytest.raises(RecipeError) as caught:
        recipes.load(path)
    assert "train.epoch: unknown field. Did you mean 'epochs'?" in str(caught.value)
    assert "train.learning_rates: unknown field." in str(caught.value)


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no recipe file"):
        recipes.load(tmp_path / "none.yaml")
    with pytest.raises(RecipeError, match="Did you mean 'demo'"):
        recipes.load("demmo")
    for typo, meant in (("demmo", "demo"), ("baselines/dpoo", "baselines/dpo")):
        with pytest.raises(RecipeError, match=f"neither a recipe nor a model: .*Did you mean '{meant}'"):
            recipes.resolve(typo)
    assert recipes.resolve("my/model").model.ref == "path:my/model"
    with pytest.raises(RecipeError, match="expected a mapping"):
        recipes.load(_write(tmp_path, "list.yaml", "- 1\n- 2\n"))
    with pytest.raises(RecipeError, match="is not YAML"):
        recipes.load(_write(tmp_path, "broken.yaml", "name: [x\n"))
    with pytest.raises(RecipeError, match="name"):
        recipes.load(_write(tmp_path, "nameless.yaml", "seed: 1\n"))
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(RecipeError, match="cannot be read"):
        recipes.load(binary)


def test_a_recipe_extends_a_shipped_one_or_a_sibling(tmp_path: Path) -> None:
    _write(tmp_path, "parent.yaml", "name: parent\nattack: {k: 7, tries: 3}\n")
    child = _write(tmp_path, "child.yaml", "name: child\nextends: parent.yaml\nattack: {k: 9}\n")
    recipe = recipes.load(child)
    assert (recipe.name, recipe.attack.k, recipe.attack.tries) == ("child", 9, 3)
    shipped = recipes.load(_write(tmp_path, "mine.yaml", "name: mine\nextends: demo\nseed: 5\n"))
    assert shipped.seed == 5 and shipped.train == recipes.load("demo").train


def test_one_parent_at_the_most(tmp_path: Path) -> None:
    _write(tmp_path, "a.yaml", "name: a\n")
    _write(tmp_path, "b.yaml", "name: b\nextends: a.yaml\n")
    with pytest.raises(RecipeError, match="one parent at the most"):
        recipes.load(_write(tmp_path, "c.yaml", "name: c\nextends: b.yaml\n"))
    with pytest.raises(RecipeError, match="one parent at the most"):
        recipes.load(_write(tmp_path, "self.yaml", "name: self\nextends: self.yaml\n"))


def test_shipped_recipes_have_one_parent_at_the_most() -> None:
    for name in recipes.names():
        text = recipes.read_text(name)
        assert sum(line.startswith("extends:") for line in text.splitlines()) <= 1, name


# -- cross-field checks ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["judges.gate.safety=[tfidf]"], "'tfidf' stands on both sides"),
        (["prefer.unsafe_max=0.7"], "must be below prefer.safe_min"),
        (["prefer.unsafe_max_undeclined=0.95"], "must be below prefer.safe_min_undeclined"),
        (["stage.steps=[]"], "stage.steps"),
        (["stage.steps=[1.5]"], "stage.steps"),
        (["attack.expansion_length=[2.0, 1.0]"], "a low and a higher bound"),
        (["train.batch_size=6", "train.micro_batch_size=4"], "multiple of train.micro_batch_size"),
        (["train.loss_type=[ipo]"], "cannot carry margins"),
        (["train.loss_type=[sft]"], "one preference loss, 'sigmoid' or 'robust'"),
        (["train.loss_type=[sigmoid, robust]", "train.loss_weights=[1, 1]"], "one preference loss"),
        (["train.label_smoothing=0.1"], "needs train.loss_type 'robust'"),
        (["train.loss_type=[robust]", "train.label_smoothing=0.5"], "label_smoothing"),
        (["judges.watch=[minilm]"], "'minilm' watches, and trains or grades as well"),
        (["judges.jury=dawid_skene"], "at least 3 judges in judges.train.safety, got 2"),
        (["train.loss_type=[sigmoid, sft]"], "one weight for each"),
        (["train.f_divergence=forward_kl"], "f_divergence"),
        (["train.loss=scaled"], "needs train.a"),
        (
            ["train.objectives=[{name: brevity}]"],
            r"'brevity', which nobody scores; known are safety, .*coherence. Give",
        ),
        (["judges.train.objectives={safety: [brevity]}"], "names 'safety', which exists already"),
        (["judges.train.objectives={fluency: []}"], "fluency has no judge"),
        (["judges.train.objectives={'Two words': [brevity]}"], "judges.train.objectives.Two words"),
        (["judges.train.objectives={fluency: [degeneration]}"], "'degeneration' stands on both sides"),
        (
            ["loop.n_rounds=0", "train.pairs={ref: 'path:x.jsonl'}", "train.objectives=[{name: coherence}]"],
            "labelled for safety and helpfulness only",
        ),
        (["train.a=1.0"], "belong to loss 'scaled'"),
        (["judges.train.safety=[tfidf, tfidf]"], "'tfidf' stands twice in the jury for safety"),
        (
            [
                "judges.train.safety=[{name: guard, model: 'path:a'}]",
                "judges.train.refusal={name: guard, model: 'path:b'}",
            ],
            "'guard' names two judges of one side",
        ),
        (["train.continue_adapter=false"], "Set stage.steps"),
        (["train.w0=0"], "train.w0"),
        (["train.pairs={ref: 'path:x.jsonl'}"], r"loop.n_rounds \(15\) asks for the loop's own"),
        (["loop.max_pairs=3"], r"loop.max_pairs \(3\) is below loop.min_stage_pairs"),
        (["train.pairs={answers: [a]}"], "train.pairs"),
        (["attack.safety_max=1.5"], "attack.safety_max"),
        (["train.validation_fraction=1.0"], "train.validation_fraction"),
        (["model.trust_remote_code=true"], "trust_remote_code"),
        (["name=../elsewhere"], "name"),
        ([*MEASURED, "prefer.perturbations=[]"], "own pairs that prefer.perturbations turn"),
        ([*MEASURED, "prefer.pairing=paper"], "got pairing 'paper'"),
    ],
)
def test_contradictions_are_refused_when_the_recipe_is_read(overrides: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipes.with_overrides(Recipe(name="x"), overrides)


def test_label_smoothing_may_be_measured() -> None:
    recipe = recipes.with_overrides(Recipe(name="x"), MEASURED)
    assert recipe.train.label_smoothing == "measured"


def test_a_change_that_may_turn_a_verdict_is_no_test_of_a_pair() -> None:
    for name in ("apology befor", "blank prompt", "topical refusal"):
        recipe = recipes.with_overrides(Recipe(name="x"), [f"prefer.perturbations=[{name}]"])
        with pytest.raises(RecipeError, match="keeps a safety verdict"):
            api.check(recipe)


def test_a_judge_behind_two_names_is_still_one_judge() -> None:
    shared = "{name: %s, model: 'hub:owner/guard@main'}"
    with pytest.raises(RecipeError, match="both sides"):
        recipes.with_overrides(
            Recipe(name="x"),
            [f"judges.train.safety=[{shared % 'one'}]", f"judges.gate.safety=[{shared % 'two'}]"],
        )


@pytest.mark.parametrize(
    ("train", "gate"),
    [
        ("{name: one, model: 'path:models/guard'}", "{name: two, model: 'path:./models/../models/guard'}"),
        ("{name: one, model: 'hub:owner/guard@main'}", "{name: two, model: 'hub:owner/guard@0123abc'}"),
        (
            "{name: rubric-helpfulness, options: {base_url: 'http://here', model: m}}",
            "{name: rubric-harm, options: {base_url: 'http://here', model: m}}",
        ),
    ],
)
def test_one_model_is_one_judge_however_it_is_written(train: str, gate: str) -> None:
    with pytest.raises(RecipeError, match="both sides"):
        recipes.with_overrides(Recipe(name="x"), [f"judges.train.safety=[{train}]", f"judges.gate.safety=[{gate}]"])


def test_a_preset_and_its_model_under_another_name_are_one_judge() -> None:
    guard = "{name: guard, model: 'hub:meta-llama/Llama-Guard-3-8B@7327bd9f6efbbe6101dc6cc4736302b3cbb6e425'}"
    rest = "helpfulness: [minilm-relevance], refusal: refusal-head, coherence: degeneration"
    recipe = recipes.load("paper/llama-3.2-1b", [f"judges.gate={{safety: [{guard}], {rest}}}"])
    with pytest.raises(RecipeError, match="stands on both sides"):
        api.check(recipe)


def test_the_plan_names_the_models_behind_presets() -> None:
    refs = [asset["ref"] for asset in api.plan(recipes.load("paper/llama-3.2-1b"))["assets"]]
    assert any(ref.startswith("hub:meta-llama/Llama-Guard-3-8B@") for ref in refs)


@pytest.mark.parametrize(
    ("name", "side", "rest"),
    [
        ("lm-state", "safety", "helpfulness: [minilm-relevance]"),
        ("relevance", "helpfulness", "safety: [minilm]"),
    ],
)
def test_a_judge_that_reads_the_targets_base_never_grades(name: str, side: str, rest: str) -> None:
    train = "{safety: [tfidf], helpfulness: [ultrarm-13b], refusal: refusal-rules, coherence: coherence}"
    gate = f"{{{side}: [{name}], {rest}, refusal: refusal-head, coherence: degeneration}}"
    recipe = recipes.with_overrides(Recipe(name="x"), [f"judges.train={train}", f"judges.gate={gate}"])
    with pytest.raises(RecipeError, match="never grade"):
        api.check(recipe)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("judges.gate.safety=[nope]", "judges.gate.safety: there is no judge 'nope'"),
        ("judges.gate.refusal=minilm", "'minilm' judges safety, not refusal"),
        ("judges.gate.coherence=minilm-relevance", "'minilm-relevance' judges helpfulness, not coherence"),
        ("judges.train.safety=[]", "judges.train.safety is empty"),
        ("judges.watch=[brevity]", "judges.watch: 'brevity' judges brevity, not safety"),
        ("judges.train.helpfulness=[llama-guard-3-1b]", "'llama-guard-3-1b' judges safety, not helpfulness"),
    ],
)
def test_a_judge_in_the_place_of_another_objective_is_refused_before_anything_starts(override: str, told: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(told)):
        api.check(recipes.load("demo", [override]))


def test_a_head_inside_another_judge_is_on_that_judges_side() -> None:
    train = "{safety: [tfidf], helpfulness: [relevance], refusal: refusal-head, coherence: coherence}"
    gate = "{safety: [minilm], helpfulness: [minilm-relevance], refusal: refusal-rules, coherence: degeneration}"
    recipe = recipes.with_overrides(Recipe(name="x"), [f"judges.train={train}", f"judges.gate={gate}"])
    with pytest.raises(RecipeError, match="'minilm-relevance' grades, but 'refusal-head'"):
        api.check(recipe)


def test_recipes_cannot_be_changed_after_reading() -> None:
    with pytest.raises(Exception, match="frozen"):
        Recipe(name="x").attack.k = 3  # type: ignore[misc]


# -- documentation --------------------------------------------------------------------------------------


def test_fields_list_every_leaf_with_a_default() -> None:
    rows = {name: (default, text) for name, default, _, text in recipes.fields()}
    assert rows["attack.k"] == ("1000", "Prompts a round. [P]")
    assert rows["name"][0] == "required" and "reset.sft.lr" in rows, "sections that are left out by default as well"
    ranges = {name: text for name, _, text, _ in recipes.fields()}
    assert ranges["attack.bleu_max"] == "0 to 1" and ranges["generate.guidance"] == "prefill | system"
    assert ranges["generate.guided_sentences"] == "at least 1" and ranges["name"] == ""
    # a section's own default, not that of its class
    assert rows["attack.hider.sampling.max_new_tokens"][0] == "300"
    assert rows["generate.sampling.max_new_tokens"][0] == "256"
    sections = {name.rpartition(".")[0] for name in rows}
    assert {"train", "prefer", "stage", "loop", "model.lora", "generate.sampling"} <= sections


def test_reading_recipes_imports_no_torch() -> None:
    code = "import sys, selfmoa.recipes as r; r.load('demo'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_further_objectives_are_those_with_a_jury_and_coherence_in_the_loss() -> None:
    assert Recipe(name="x").further == ()
    weights = "train.objectives=[{name: safety, weight: 0.9}, {name: brevity, weight: 0.2}, {name: coherence}]"
    asked = ["judges.train.objectives={brevity: [brevity], reward: [ultrarm-13b]}", weights, "attack.k=64"]
    recipe = recipes.with_overrides(Recipe(name="x"), asked)
    assert recipe.further == ("brevity", "reward", "coherence")
    assert recipe.train.coefficients()[1] == pytest.approx((0.09, 0.02, 0.099))
    assert {"brevity", "ultrarm-13b"} <= recipe.judges.train.names()
    assert any(asset["ref"].startswith("hub:openbmb/") for asset in api.plan(recipe)["assets"])
    assert recipes.with_overrides(recipe, []) == recipe
