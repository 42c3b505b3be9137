"""What requests cost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import BadSetting
from services.gateway.accounts.metering.prices import Prices

PRICES = Prices(["chat=2/0.5/8", "a=b=1/1/1/3.5", "*=1/1/1"])


@pytest.mark.parametrize(
    ("model", "used", "cost"),
    [
        ("chat", (1_000_000, 0, 0, 0), 2.0),
        ("chat", (1_000_000, 1_000_000, 0, 0), 0.5),
        ("chat", (1_000, 400, 100, 10**9), 0.0012 + 0.0002 + 0.0008),
        ("a=b", (0, 0, 0, 2_000_000_000), 7.0),
        ("another", (1, 0, 1, 0), 0.000002),
    ],
)
def test_prompt_cached_and_generated_tokens_have_their_prices(
    model: str, used: tuple[int, int, int, int], cost: float
) -> None:
    assert PRICES.of(model).cost_nano(*used) == round(cost * 1e9)


def test_without_a_price_nothing_costs_anything() -> None:
    assert Prices().of("chat").cost_nano(10**9, 0, 10**9, 10**12) == 0


def test_an_adapter_costs_what_its_model_does_unless_it_has_a_price() -> None:
    assert PRICES.of("chat", "a=b") == PRICES.of("chat")
    assert PRICES.of("style", "chat") == PRICES.of("chat") != PRICES.of("style")
    assert PRICES.of("style", "other") == PRICES.of("*")


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**9))
def test_cost_is_exact_to_a_billionth(fresh: int, cached: int, generated: int, kv_token_ms: int) -> None:
    price = Prices(["m=0.15/0.075/0.6/0.000001"]).of("m")
    exact = (fresh * 0.15 + cached * 0.075 + generated * 0.6 + kv_token_ms / 1e3 * 0.000001) * 1e3
    assert abs(price.cost_nano(fresh + cached, cached, generated, kv_token_ms) - exact) <= 0.5 + 1e-6 * exact


@pytest.mark.parametrize(
    "text", ["chat", "=1/2/3", "chat=1/2", "chat=1/2/x", "chat=1/2/-3", "chat=1/2/nan", "c=1/2/3/4/5"]
)
def test_a_price_that_is_none_is_named(text: str) -> None:
    with pytest.raises(BadSetting, match="--price"):
        Prices([text])
