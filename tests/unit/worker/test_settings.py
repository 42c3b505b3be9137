"""What a worker can be told, and what it refuses before it loads anything."""

import pytest

from services.common.domain import Role
from services.common.errors import BadSetting, ModelMissing
from services.common.settings import load
from services.decode.settings import Settings
from services.worker import EngineArguments, WorkerSettings
from services.worker.factory import create_engine


def loaded(**flags: str | list[str]) -> Settings:
    return load(Settings, service="decode", flags={"model": "m", **flags}, environ={}, file=None)


def test_routers_come_repeated_or_with_commas() -> None:
    settings = loaded(routers=["a:1,b:2", "c:3", "a:1"])
    assert settings.worker.router_addresses == ("a:1", "b:2", "c:3")


@pytest.mark.parametrize(
    "flags",
    [
        {"routers": ["nowhere"]},
        {"routers": [","]},
        {"model": ""},
        {"load_interval_ms": "0"},
        {"lora_adapter": ["style"]},
        {"lora_adapter": ["style=/a", "style=/b"]},
    ],
)
def test_impossible_settings_are_refused(flags: dict[str, str | list[str]]) -> None:
    with pytest.raises(BadSetting):
        loaded(**flags)


def test_the_models_name_is_its_directorys_unless_given() -> None:
    assert WorkerSettings(model="/models/tiny").name == "tiny"
    assert WorkerSettings(model="org/tiny").name == "tiny"
    assert WorkerSettings(model="/models/tiny", served_model_name="other").name == "other"


def test_the_role_is_the_commands_own_unless_given() -> None:
    assert loaded().worker.first_role(Role.DECODE) is Role.DECODE
    assert loaded(role="both").worker.first_role(Role.DECODE) is Role.BOTH
    with pytest.raises(BadSetting, match="did you mean both"):
        loaded(role="bothh")


def test_made_up_names_differ() -> None:
    settings = WorkerSettings(model="m")
    assert settings.identity() != settings.identity()
    assert WorkerSettings(model="m", worker_id="w").identity() == "w"


def test_named_engine_arguments_come_before_free_ones() -> None:
    arguments = EngineArguments(
        max_model_len=512, enable_prefix_caching=False, engine_arg=("max-model-len=256",)
    )
    assert arguments.pairs() == ("max-model-len=512", "enable-prefix-caching=false", "max-model-len=256")


def test_the_engine_gets_them_all() -> None:
    settings = WorkerSettings(model="tiny", engine="sim", handoff_lease_ms=5_000)
    arguments = EngineArguments(max_model_len=512, engine_arg=("max-num-seqs=3",))
    engine = create_engine(settings, arguments, Role.DECODE)
    assert engine.capacity.max_model_len_tokens == 512
    assert engine.capacity.max_running_requests == 3


def test_a_wrong_engine_argument_is_found_before_loading() -> None:
    settings = WorkerSettings(model="tiny", engine="sim")
    with pytest.raises(BadSetting, match="max-num-seqs"):
        create_engine(settings, EngineArguments(engine_arg=("max-num-seq=3",)), Role.DECODE)


def test_a_missing_model_is_found_before_loading() -> None:
    with pytest.raises(ModelMissing):
        create_engine(WorkerSettings(model="/no/such", engine="sim"), EngineArguments(), Role.DECODE)


def test_adapters_are_named_with_their_directories() -> None:
    assert loaded(lora_adapter=["style=/a=b", "tone=/c"]).worker.adapters == {"style": "/a=b", "tone": "/c"}
