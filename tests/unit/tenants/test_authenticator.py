"""From headers to a caller."""

import pytest
from prometheus_client import CollectorRegistry

from services.common.credentials import KeyRecord, key_id, new_key
from services.common.domain import ServiceClass
from services.common.errors import NotAllowed, Unauthenticated
from services.gateway.tenants import ANONYMOUS, Caller
from services.gateway.tenants.authenticator import Authenticator
from services.gateway.tenants.live import LiveTenants
from services.gateway.tenants.metrics import Metrics
from services.gateway.tenants.read import read_tenants
from services.gateway.tenants.source import FileSource
from tests.unit.tenants.issuer import token, verifier

KEY, OTHER_KEY = new_key(), new_key()
TEXT = f"""
[tenants.acme]
keys = ["{KeyRecord.of(KEY)}"]
service_class = "batch"
[tenants.other]
keys = ["{KeyRecord.of(OTHER_KEY)}"]
"""
REGISTRY = CollectorRegistry()
METRICS = Metrics(REGISTRY)


def authenticator(*, has_tenants: bool = True, has_tokens: bool = True) -> Authenticator:
    tenants = LiveTenants(FileSource("tenants.toml"), METRICS)
    tenants.current = read_tenants(TEXT.encode(), "tenants.toml")
    tokens = verifier()[0]
    return Authenticator(tenants if has_tenants else None, tokens if has_tokens else None, METRICS)


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Bearer none"}, {"x-api-key": KEY}, {"authorization": "Bearer a.b.c"}]
)
def test_without_tenants_everybody_is_anonymous(headers: dict[str, str]):
    assert authenticator(has_tenants=False, has_tokens=False).identify(headers) is ANONYMOUS


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer  {KEY} "},
        {"x-api-key": KEY},
        {"api-key": KEY},
        {"authorization": "Basic dXNlcjpwYXNz", "x-api-key": KEY},
        {"authorization": f"Bearer {KEY}", "x-api-key": OTHER_KEY},
    ],
)
def test_a_key_is_found_where_clients_put_it(headers: dict[str, str]):
    caller = authenticator().identify(headers)
    assert caller.tenant == "acme"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"authorization": KEY},
        {"authorization": f"Basic {KEY}"},
        {"authorization": "Bearer none"},
        {"x-api-key": new_key()},
        {"x-api-key": KEY[:-1]},
        {"x-api-key": f"{KEY},{KEY}"},
        {"api-key": str(KeyRecord.of(KEY))},
        {"authorization": f"Bearer {new_key()}", "x-api-key": KEY},
    ],
)
def test_without_a_good_key_nobody_is_let_in_and_nothing_of_it_is_told(headers: dict[str, str]):
    counted = REGISTRY.get_sample_value(
        "pdmesh_gateway_refused_credentials_total", {"reason": "invalid_api_key"}
    )
    with pytest.raises(Unauthenticated) as refused:
        authenticator().identify(headers)
    for sent in headers.values():
        secret = sent.rpartition("_")[2]
        assert len(secret) < 10 or secret not in refused.value.message
    after = REGISTRY.get_sample_value(
        "pdmesh_gateway_refused_credentials_total", {"reason": "invalid_api_key"}
    )
    assert after == (counted or 0) + 1


def test_a_refused_key_is_named_by_its_public_part():
    wrong = new_key()
    with pytest.raises(Unauthenticated, match=f"pdm_{key_id(wrong)}_"):
        authenticator().identify({"x-api-key": wrong})


def test_a_token_finds_its_tenant_with_all_its_limits():
    caller = authenticator().identify({"authorization": f"Bearer {token()}"})
    assert caller == authenticator().identify({"x-api-key": KEY})


def test_a_token_may_name_another_class_than_its_tenants():
    headers = {"authorization": f"Bearer {token(service_class='interactive')}"}
    caller = authenticator().identify(headers)
    assert (caller.tenant, caller.service_class) == ("acme", ServiceClass.INTERACTIVE)


def test_a_token_of_an_unknown_tenant_is_not_let_in():
    with pytest.raises(NotAllowed, match="nobody"):
        authenticator().identify({"authorization": f"Bearer {token(tenant='nobody')}"})


def test_with_tokens_alone_the_issuer_says_who_there_is():
    alone = authenticator(has_tenants=False)
    caller = alone.identify({"authorization": f"Bearer {token(tenant='new')}"})
    assert caller == Caller(tenant="new", cache_salt=caller.cache_salt)
    assert caller.cache_salt
    with pytest.raises(Unauthenticated):
        alone.identify({"x-api-key": KEY})


def test_with_keys_alone_no_token_is_taken():
    with pytest.raises(Unauthenticated):
        authenticator(has_tokens=False).identify({"authorization": f"Bearer {token()}"})
