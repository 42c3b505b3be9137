"""Worked examples of memory and money that a reader can check by hand."""

import pytest

from services.common.errors import BadSetting, ModelMissing
from services.planner.hardware.engine_spec import EngineSpec
from services.planner.hardware.gpu import gpu_of
from services.planner.hardware.model import model_of
from services.planner.hardware.model_shape import ModelShape
from services.planner.hardware.precision import Precision

KIB = 1024


def shape(name: str) -> ModelShape:
    return model_of(name).shape


@pytest.mark.parametrize(("kv", "kib"), [(Precision.FP8, 160), (Precision.FP16, 320)])
def test_a_token_of_a_70b_takes_this_much_kv(kv: Precision, kib: int) -> None:
    """2 x 80 layers x 8 KV heads x 128 = 163 840 numbers."""
    assert shape("llama-3.3-70b").kv_token_bytes(kv) == kib * KIB


def test_4096_tokens_of_a_7b_take_2_gigabytes() -> None:
    """2 x 32 layers x 32 heads x 128 x 2 bytes = 512 KiB a token."""
    assert shape("llama-2-7b").kv_token_bytes(Precision.FP16) * 4_096 / 1e9 == pytest.approx(2.15, abs=0.005)


def test_200_requests_of_4096_tokens_take_128_gigabytes() -> None:
    """A request is 160 KiB x 4 096 = 640 MiB."""
    request = shape("llama-3.3-70b").kv_token_bytes(Precision.FP8) * 4_096
    assert request / KIB**2 == 640
    assert 200 * request / KIB**2 / 1000 == 128


@pytest.mark.parametrize(
    ("name", "billions"),
    [("llama-2-7b", 6.74), ("llama-2-13b", 13.02), ("llama-3.1-8b", 8.03), ("llama-3.1-70b", 70.55)],
)
def test_parameters_are_those_of_the_published_models(name: str, billions: float) -> None:
    assert shape(name).parameters / 1e9 == pytest.approx(billions, rel=0.002)


@pytest.mark.parametrize(("name", "total", "active"), [("mixtral-8x7b", 46.7, 12.9)])
def test_experts_weigh_more_than_they_compute(name: str, total: float, active: float) -> None:
    found = shape(name)
    assert found.parameters / 1e9 == pytest.approx(total, rel=0.01)
    assert (found.active_layer_parameters + found.embedding_parameters) / 1e9 == pytest.approx(
        active, rel=0.01
    )


@pytest.mark.parametrize(
    ("weights", "context", "requests"),
    [
        (Precision.FP16, 4_096, 14),
        (Precision.FP16, 8_192, 7),
        (Precision.FP16, 16_384, 3),
        (Precision.INT4, 4_096, 19),
        (Precision.INT4, 8_192, 9),
        (Precision.INT4, 16_384, 4),
    ],
)
def test_a_13b_on_an_a100_holds_so_many_requests(weights: Precision, context: int, requests: int) -> None:
    """77.3 GB usable less 4.3 reserved less weights of 26.0 or 7.0, over 800 KiB a token."""
    spec = EngineSpec(model_of("llama-2-13b"), gpu_of("a100"), 1, weights, Precision.FP16)
    assert spec.kv_tokens // context == requests


@pytest.mark.parametrize(("weights", "tokens"), [(Precision.FP16, 31_776), (Precision.INT4, 8_542)])
def test_kv_outweighs_a_13bs_weights_from_this_context_on(weights: Precision, tokens: int) -> None:
    """800 KiB a token against 26 GB, or 7 GB with embeddings in 16 bits."""
    spec = EngineSpec(model_of("llama-2-13b"), gpu_of("a100"), 1, weights, Precision.FP16)
    assert spec.kv_outweighs_weights_tokens == pytest.approx(tokens, rel=0.001)


def test_a_model_that_does_not_fit_says_what_would() -> None:
    spec = EngineSpec(model_of("llama-3.1-70b"), gpu_of("a100"), 1, Precision.FP16, Precision.FP16)
    with pytest.raises(BadSetting, match=r"weighs 141\.1 GB and does not fit 1 x a100 .* needs 2 or more"):
        spec.check()
    with pytest.raises(BadSetting, match="3 GPUs cannot share evenly"):
        EngineSpec(model_of("llama-3.1-70b"), gpu_of("a100"), 3, Precision.FP16, Precision.FP16).check()


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path) -> None:
    with pytest.raises(BadSetting, match="did you mean h100"):
        gpu_of("h1000")
    with pytest.raises(BadSetting, match=r"did you mean llama-3\.1-8b"):
        model_of("lama-3.1-8b")
    with pytest.raises(BadSetting, match="did you mean fp8"):
        Precision.parse("f8", "--kv")
    with pytest.raises(ModelMissing, match=r"no config\.json"):
        model_of(str(tmp_path))


@pytest.mark.parametrize("config", ["[]", "{", '{"hidden_size": 5}', '{"hidden_size": "x"}'])
def test_a_config_that_is_none_is_refused(tmp_path, config: str) -> None:
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(ModelMissing):
        model_of(str(tmp_path))


def test_a_local_config_will_do(tmp_path) -> None:
    (tmp_path / "config.json").write_text(
        '{"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128, '
        '"vocab_size": 100}'
    )
    assert model_of(str(tmp_path)).shape.kv_token_values == 2 * 2 * 4 * 16
