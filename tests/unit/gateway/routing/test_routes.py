"""From names to models: aliases, versions, adapters, and who may use them."""

from collections import Counter

import pytest

from services.common.errors import ModelNotFound
from services.gateway.call.parts import Route
from services.gateway.models.routing.read import read_names
from services.gateway.models.routing.routes import Routes
from tests.unit.gateway.routing.asking import Fleet, asks, call, chat

FLEET = Fleet({"chat-v1": 1_000, "chat-v2": 800, "tiny": 200}, {"chat-v1": ("legal-2026", "poems")})


def routes(text: str, fleet: Fleet = FLEET) -> Routes:
    return Routes(fleet, read_names(text.encode(), "m.toml"))


def test_a_name_that_nobody_explains_is_a_models() -> None:
    assert Routes(FLEET).resolve(call(asks("tiny"))) == Route("tiny", "tiny")
    assert Routes(FLEET).resolve(call(asks("unknown"))) == Route("unknown", "unknown")


def test_aliases_lead_on() -> None:
    made = routes("[aliases]\na = 'b'\nb = 'tiny'")
    asked = call(asks("a"))
    route = made.resolve(asked)
    assert route == Route("tiny", "tiny", reason="a is b; b is tiny")
    assert route.headers == (("x-pdmesh-model-reason", "a is b; b is tiny"),)
    assert asked.notes == {"served_model": "tiny", "model_reason": "a is b; b is tiny"}


@pytest.mark.parametrize(("name", "model", "adapter"), [
    ("poems", "chat-v1", "poems"),
    ("lawyer", "chat-v1", "legal-2026"),
    ("by-alias", "chat-v1", "legal-2026"),
])  # fmt: skip
def test_an_adapter_is_a_model_to_those_who_ask(name: str, model: str, adapter: str) -> None:
    made = routes(
        "[adapters.lawyer]\nmodel = 'chat-v1'\nadapter = 'legal-2026'\n[aliases]\nby-alias = 'lawyer'"
    )
    route = made.resolve(call(asks(name)))
    assert (route.model, route.lora, route.served_name) == (model, adapter, adapter)


def test_a_model_goes_before_an_adapter_of_its_name() -> None:
    fleet = Fleet({"a": 10, "b": 10}, {"a": ("b",)})
    assert Routes(fleet).resolve(call(asks("b"))) == Route("b", "b")


def shares(made: Routes, count: int = 4_000) -> Counter[str]:
    return Counter(
        made.resolve(call(asks("chat"), session_key=f"conversation {number}")).model
        for number in range(count)
    )


CANARY = "[versions.chat.weights]\nchat-v1 = {}\nchat-v2 = {}\n"


def test_versions_share_callers_by_weight() -> None:
    found = shares(routes(CANARY.format(90, 10)))
    assert 0.08 < found["chat-v2"] / found.total() < 0.12


def test_a_conversation_keeps_its_version_while_the_canary_grows() -> None:
    small, larger = routes(CANARY.format(95, 5)), routes(CANARY.format(80, 20))
    back = 0
    for number in range(2_000):
        asked = call(asks("chat"), session_key=str(number))
        before, after = small.resolve(asked).model, larger.resolve(asked).model
        back += before == "chat-v2" and after == "chat-v1"
    assert back == 0


def test_a_rollback_takes_every_caller_away_at_once() -> None:
    made = routes(CANARY.format(50, 50))
    assert set(shares(made, 100)) == {"chat-v1", "chat-v2"}
    made.replace(read_names(CANARY.format(1, 0).encode(), "m.toml"))
    assert set(shares(made)) == {"chat-v1"}


@pytest.mark.parametrize("sticky", ["conversation", "tenant"])
def test_what_keeps_a_version(sticky: str) -> None:
    made = routes(f"[versions.chat]\nsticky = '{sticky}'\nweights = {{ chat-v1 = 1, chat-v2 = 1 }}")
    of_one_tenant = {
        made.resolve(call(asks("chat"), tenant="acme", session_key=str(number))).model for number in range(64)
    }
    assert len(of_one_tenant) == (1 if sticky == "tenant" else 2)
    without_conversation = {
        made.resolve(call(asks("chat"), tenant="acme", request_id=str(number))).model for number in range(64)
    }
    assert len(without_conversation) == 1
    anonymous = {made.resolve(call(asks("chat"), request_id=str(number))).model for number in range(64)}
    assert len(anonymous) == 2


def test_a_version_that_is_not_served_gets_nobody() -> None:
    fleet = Fleet({"chat-v1": 100})
    made = routes(CANARY.format(1, 3), fleet)
    assert set(shares(made, 100)) == {"chat-v1"}
    fleet.lens = {}
    assert set(shares(made, 100)) == {"chat-v1", "chat-v2"}


def test_a_canary_may_have_the_name_of_the_model_it_replaces() -> None:
    made = routes("[versions.tiny.weights]\ntiny = 1\nchat-v1 = 1")
    found = {made.resolve(call(asks("tiny"), session_key=str(number))).model for number in range(64)}
    assert found == {"tiny", "chat-v1"}


def test_a_tenant_may_use_the_names_that_it_was_given() -> None:
    made = routes("[aliases]\nbest = 'chat-v1'")
    allowed = frozenset({"best"})
    assert made.resolve(call(asks("best"), models=allowed)).model == "chat-v1"
    with pytest.raises(ModelNotFound):
        made.resolve(call(asks("chat-v1"), models=allowed))
    with pytest.raises(ModelNotFound):
        made.resolve(call(asks("poems"), models=allowed))


AUTO = "[auto]\nsmall = 'tiny'\nlarge = 'chat'\n[versions.chat.weights]\nchat-v1 = 1\n"


def test_auto_says_which_and_why() -> None:
    made = routes(AUTO)
    small = made.resolve(call(asks("auto", chat("Hello there"))))
    assert small.model == small.served_name == "tiny"
    assert small.reason == "auto: small, nothing hard (0 of 2 points)"
    large = made.resolve(call(asks("auto", chat("```x```"))))
    assert large.model == "chat-v1"
    assert large.reason == ("auto: large, code (2 of 2 points); chat is chat-v1 for 100 % of callers")


def test_auto_goes_where_a_call_can_be_served() -> None:
    fleet = Fleet({"chat-v1": 1_000})
    made = routes(AUTO, fleet)
    alone = made.resolve(call(asks("auto")))
    assert alone.model == "chat-v1"
    assert "tiny is not served" in alone.reason
    fleet.lens = {"chat-v1": 1_000, "tiny": 50}
    long = made.resolve(call(asks("auto", max_tokens=60)))
    assert long.model == "chat-v1"
    assert "too long for tiny" in long.reason
    assert made.resolve(call(asks("auto", max_tokens=2_000))).model == "chat-v1"
    fleet.lens = {}
    assert made.resolve(call(asks("auto"))).model == "tiny"


def test_all_names_that_lead_somewhere_are_listed() -> None:
    lawyer = "[adapters.lawyer]\nmodel = 'chat-v1'\nadapter = 'legal-2026'\n"
    made = routes(AUTO + lawyer + "[aliases]\nold = 'chat'\ngone = 'missing'")
    listed = made.listed()
    assert sorted(listed) == [
        "auto", "chat", "chat-v1", "chat-v2", "lawyer", "legal-2026", "old", "poems", "tiny",
    ]  # fmt: skip
    assert listed["auto"].model_len == 200
    assert listed["old"].model_len == 1_000
    assert listed["lawyer"].parent == listed["poems"].parent == "chat-v1"


def test_a_long_reason_is_cut() -> None:
    chain = "\n".join(f"{'a' * 100}{n} = '{'a' * 100}{n + 1}'" for n in range(30))
    route = routes(f"[aliases]\n{chain}").resolve(call(asks(f"{'a' * 100}0")))
    assert len(route.reason) == 400
