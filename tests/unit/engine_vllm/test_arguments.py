"""What is refused before vLLM is even imported."""

import sys
from pathlib import Path

import pytest

from services.common.domain import Role
from services.common.errors import BadSetting, ComponentMissing, ModelMissing
from services.worker.engine.vllm import EngineArguments, create
from services.worker.engine.vllm import checks as vllm_checks
from services.worker.engine.vllm.cpu import parse_cores


def test_passthrough_wins_over_named_arguments_and_takes_dashes_or_underscores() -> None:
    arguments = EngineArguments(
        max_num_seqs=8,
        enable_prefix_caching=False,
        passthrough=("max-num-seqs=64", "swap_space=1", "--seed=3"),
    )
    settings = arguments.settings()
    assert settings["max_num_seqs"] == "64"
    assert settings["enable_prefix_caching"] == "False"
    assert settings["swap_space"] == "1"
    assert settings["seed"] == "3"
    assert "quantization" not in settings
    assert "handoff_lease_ms" not in settings


def test_json_values_keep_their_equals_signs() -> None:
    assert EngineArguments(passthrough=('a={"b": "c=d"}',)).settings()["a"] == '{"b": "c=d"}'


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ("max-num-seqs", "key=value"),
        ("=4", "key=value"),
        ("model=x", "--model"),
        ("kv-transfer-config={}", "role"),
    ],
)
def test_bad_passthrough_is_refused(item: str, words: str) -> None:
    with pytest.raises(BadSetting, match=words):
        EngineArguments(passthrough=(item,)).check_syntax()


def test_a_lease_that_no_pull_could_meet_is_refused() -> None:
    with pytest.raises(BadSetting, match="handoff_lease_ms"):
        EngineArguments(handoff_lease_ms=10).check_syntax()


@pytest.mark.parametrize("cores", ["x", "0-", "-1", "0,,1", "99999", "3-1", "1-0,0"])
def test_cores_that_do_not_exist_are_refused(cores: str) -> None:
    with pytest.raises(BadSetting, match="cores"):
        parse_cores(cores)


def test_cores_are_numbers_and_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2, 3, 4, 5})
    assert parse_cores("") == [0, 1, 2, 3, 4, 5]
    assert parse_cores("4") == [4]
    assert parse_cores("0,2-4") == [0, 2, 3, 4]


def test_a_model_directory_must_hold_a_config(tmp_path: Path) -> None:
    def refused(model: str) -> str:
        with pytest.raises(ModelMissing) as caught:
            create(model, "m", Role.BOTH, EngineArguments())
        return caught.value.message

    assert "no model at" in refused(str(tmp_path / "absent"))
    assert "config.json" in refused(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    assert "not valid JSON" in refused(str(tmp_path))
    (tmp_path / "config.json").write_text("[]")
    assert "not a JSON object" in refused(str(tmp_path))


def test_a_missing_library_is_named_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setattr(
        vllm_checks.importlib.util, "find_spec", lambda name: None if name == "nixl" else object()
    )
    with pytest.raises(ComponentMissing, match=r"nixl: pip install"):
        create(str(tmp_path), "m", Role.BOTH, EngineArguments())


def test_creating_an_engine_imports_no_vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setattr(vllm_checks, "_COMPONENTS", {})
    before = "vllm" in sys.modules
    create(str(tmp_path), "m", Role.BOTH, EngineArguments())
    assert ("vllm" in sys.modules) == before
