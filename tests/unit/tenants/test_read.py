"""The tenants file: what it may say, and how it is refused."""

import pytest

from services.common.credentials import KeyRecord, new_key
from services.common.domain import ServiceClass
from services.common.errors import BadSetting
from services.gateway.tenants import Caller, TenantQuota
from services.gateway.tenants.read import read_tenants

KEY, OTHER_KEY = f"pdm_0123456789ab_{'A' * 43}", f"pdm_ba9876543210_{'B' * 42}A"
FULL = f"""
cache_secret = "hidden"
[tiers.default]
service_class = "batch"
[tiers.gold]
service_class = "interactive"
tokens_per_minute = 100_000
max_tokens = 4096
[tenants.acme]
tier = "gold"
keys = ["{KeyRecord.of(KEY)}"]
weight = 3
requests_per_minute = 600
concurrent = 32
max_tokens = 512
models = ["small", "large"]
is_admin = true
control_tokens = "plain"
[tenants.plain]
keys = ["{KeyRecord.of(OTHER_KEY)}"]
"""


def read(text: str, name: str = "tenants.toml"):
    return read_tenants(text.encode(), name)


def test_a_tenant_has_its_own_values_then_its_tiers():
    acme = read(FULL).by_key(KEY)
    assert acme is not None
    assert acme == Caller(
        tenant="acme",
        service_class=ServiceClass.INTERACTIVE,
        weight=3.0,
        cache_salt=acme.cache_salt,
        quota=TenantQuota(100_000, 600, 32),
        max_tokens=512,
        models=frozenset({"small", "large"}),
        control_tokens="plain",
        is_admin=True,
    )


def test_a_tenant_without_a_tier_is_of_the_default_one():
    assert read(FULL).by_key(OTHER_KEY).service_class is ServiceClass.BATCH
    assert read("[tenants.a]").by_name("a").service_class is ServiceClass.STANDARD


def test_a_key_finds_its_tenant_and_another_finds_none():
    tenants = read(FULL)
    assert tenants.by_key(KEY) is tenants.by_name("acme")
    for wrong in (new_key(), KEY[:-1] + ("A" if KEY[-1] != "A" else "B"), KEY + "x", "", "none"):
        assert tenants.by_key(wrong) is None


def test_yaml_and_json_say_the_same():
    toml = read('[tiers.t]\nmax_tokens = 5\n[tenants.a]\ntier = "t"\nmodels = ["m"]\n')
    yaml = "tiers:\n  t: {max_tokens: 5}\ntenants:\n  a:\n    tier: t\n    models: [m]\n"
    assert read(yaml, "tenants.yaml") == toml
    assert (
        read('{"tiers": {"t": {"max_tokens": 5}}, "tenants": {"a": {"tier": "t", "models": ["m"]}}}') == toml
    )


def test_each_tenant_has_a_salt_of_its_own_and_a_group_shares_one():
    grouped = 'cache_group = "g"\n'
    text = f"[tenants.a]\n[tenants.b]\n[tenants.g]\n[tenants.c]\n{grouped}[tenants.d]\n{grouped}"
    salts = {name: caller.cache_salt for name, caller in read(text).callers.items()}
    assert salts["c"] == salts["d"]
    assert len(set(salts.values())) == 4
    assert all(salts.values())
    assert {n: c.cache_salt for n, c in read(text).callers.items()} == salts, "gateways must agree"
    assert read('cache_secret = "x"\n' + text).by_name("a").cache_salt != salts["a"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("tenant = 1", "did you mean tenants?"),
        ("[tenants.a]\nwieght = 1", "did you mean weight?"),
        ("[tiers.a]\nkeys = []", "unknown key"),
        ('[tiers.gold]\n[tenants.a]\ntier = "golt"', "did you mean gold?"),
        ('[tenants.a]\nservice_class = "interactiv"', "did you mean interactive?"),
        ("[tenants.a]\nweight = 0", "between 0.001 and 1000"),
        ("[tenants.a]\nweight = true", "not a number"),
        ("[tenants.a]\nmax_tokens = 0", "at least 1"),
        ("[tenants.a]\ntokens_per_minute = 1.5", "not a whole number"),
        ('[tenants.a]\nkeys = ["pdm_x"]', "pdm1:"),
        (f'[tenants.a]\nkeys = ["{KEY}"]', "pdm1:"),
        ('[tenants."a b"]', "is no name"),
        ("[tenants.a", "tenants.toml"),
        ("tenants = 3", "not a table"),
        ("[tenants]\na = 3", "not a table"),
        ("cache_secret = 3", "not text"),
        ("\xff", "tenants.toml"),
        (
            f'[tenants.a]\nkeys = ["{KeyRecord.of(KEY)}"]\n[tenants.b]\nkeys = ["{KeyRecord.of(KEY)}"]',
            "twice",
        ),
        ("{" * 100_000, "tenants.toml"),
        ("x" * (9 * 1024 * 1024), "over"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line_that_says_where(text: str, why: str):
    with pytest.raises(BadSetting) as refused:
        read_tenants(text.encode("latin-1"), "tenants.toml")
    assert why in refused.value.message
    assert "tenants.toml" in refused.value.message
    assert "\n" not in refused.value.message
    assert KEY not in refused.value.message


@pytest.mark.parametrize("text", ["- a", "a: [", "[" * 20_000, "!!python/object:os.system {}"])
def test_wrong_yaml_is_refused(text: str):
    with pytest.raises(BadSetting, match=r"tenants\.yaml"):
        read(text, "tenants.yaml")
