"""What is known of LoRA adapters before vLLM is imported."""

import json
from pathlib import Path

import pytest

from services.common.errors import BadSetting, MeshError, ModelMissing
from services.worker.engine.vllm.adapters import check_places, default_arguments, read


def written(directory: Path, *, rank: object = 8, weights: bytes = b"w") -> str:
    directory.mkdir()
    (directory / "adapter_config.json").write_text(json.dumps({"r": rank}))
    (directory / "adapter_model.safetensors").write_bytes(weights)
    return str(directory)


def test_adapters_are_numbered_and_known_by_their_content(tmp_path: Path) -> None:
    named = {
        "a": written(tmp_path / "a"),
        "b": written(tmp_path / "b", weights=b"other"),
        "c": written(tmp_path / "c"),
    }
    adapters = read(named)
    assert [adapter.number for adapter in adapters.values()] == [1, 2, 3]
    assert adapters["a"].digest == adapters["c"].digest != adapters["b"].digest


def test_vllm_makes_room_for_the_largest_and_for_some_at_once(tmp_path: Path) -> None:
    named = {str(rank): written(tmp_path / str(rank), rank=rank) for rank in (2, 4, 8, 12, 33)}
    adapters = list(read(named).values())
    rooms = {"enable_lora": "true", "max_lora_rank": "64"}
    assert default_arguments(adapters, on_cpu=False) == rooms | {"max_loras": "4", "max_cpu_loras": "5"}
    assert default_arguments(adapters, on_cpu=True) == rooms | {"max_loras": "6", "max_cpu_loras": "6"}
    assert default_arguments([], on_cpu=True) == {}


def test_on_a_cpu_one_place_stays_empty(tmp_path: Path) -> None:
    adapters = read({"a": written(tmp_path / "a")}).values()
    with pytest.raises(BadSetting, match="at least 2"):
        check_places(1, adapters, on_cpu=True)
    check_places(2, adapters, on_cpu=True)
    check_places(1, adapters, on_cpu=False)
    check_places(1, [], on_cpu=True)


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lambda d: (d / "adapter_config.json").unlink(), ModelMissing),
        (lambda d: (d / "adapter_config.json").write_text("{}"), ModelMissing),
        (lambda d: (d / "adapter_config.json").write_text("nonsense"), ModelMissing),
        (lambda d: (d / "adapter_model.safetensors").unlink(), ModelMissing),
    ],
)
def test_a_directory_that_holds_no_adapter_is_refused(
    tmp_path: Path, spoil: object, kind: type[MeshError]
) -> None:
    directory = written(tmp_path / "a")
    spoil(Path(directory))  # type: ignore[operator]
    with pytest.raises(kind):
        read({"a": directory})


def test_there_are_not_endlessly_many() -> None:
    with pytest.raises(BadSetting):
        read({str(i): "nowhere" for i in range(100)})
