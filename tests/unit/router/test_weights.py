"""Weights as operators write them, and what they do in the core."""

from collections import Counter
from dataclasses import replace

import pytest

from services.common.domain import Role
from services.common.errors import BadSetting
from services.router.core.models import served_models
from services.router.weights import model_versions, tenant_weights
from tests.sim.world import CONFIG, World


def test_weights_are_read():
    assert tenant_weights(["gold=3", "a=b=0.5"]) == {"gold": 3.0, "a=b": 0.5}
    assert model_versions(["chat=m:90,org/n:10"]) == {"chat": {"m": 90.0, "org/n": 10.0}}


@pytest.mark.parametrize(
    "written", ["gold", "gold=", "=3", "gold=x", "gold=-1", "gold=0", "gold=inf", "gold=nan"]
)
def test_a_wrong_tenant_weight_is_refused(written):
    with pytest.raises(BadSetting):
        tenant_weights([written])


@pytest.mark.parametrize("written", ["chat", "chat=", "=m:1", "chat=m", "chat=m:x", "chat=m:1,n"])
def test_a_wrong_version_is_refused(written):
    with pytest.raises(BadSetting):
        model_versions([written])


def test_versions_are_sticky_by_tenant_weighted_and_told():
    versions = {"chat": {"m": 90.0, "n": 10.0}}
    world = World(0, replace(CONFIG, canary_interval_ms=0, model_versions=versions))
    world.add_worker(Role.DECODE, "old", max_running_requests=400, kv_blocks=4_000)
    world.add_worker(Role.DECODE, "new", model="n", max_running_requests=400, kv_blocks=4_000)
    assert [m.name for m in served_models(world.core.state)] == ["m", "n", "chat"]
    gateway = world.add_gateway()
    answered: dict[str, set[str]] = {}
    for _ in range(2):
        for tenant in map(str, range(100)):
            caller = world.submit(gateway, 10, 1, tenant=tenant, model="chat")
            world.run(world.now_ms + 30.0)
            world.run(world.now_ms + 40.0)
            answered.setdefault(tenant, set()).add(caller.outcomes[0].receipt.model)
    assert all(len(models) == 1 for models in answered.values())
    shares = Counter(next(iter(models)) for models in answered.values())
    assert 80 <= shares["m"] < 100


def test_a_request_brings_its_tenants_weight_and_the_routers_own_setting_wins():
    world = World(0, replace(CONFIG, canary_interval_ms=0, ageing_ms=10**9, tenant_weights={"set": 1.0}))
    world.add_worker(Role.DECODE, "only", max_running_requests=1, kv_blocks=4_000)
    gateway = world.add_gateway()
    callers = [
        world.submit(gateway, 10, 1, tenant=tenant, tenant_weight=weight)
        for _ in range(8)
        for tenant, weight in (("heavy", 4.0), ("light", 1.0), ("set", 9.0))
    ]
    while sum(bool(caller.outcomes) for caller in callers) < 12:
        world.run(world.now_ms + 1.0)
    served = Counter(caller.request.tenant for caller in callers if caller.outcomes)
    assert served["heavy"] == pytest.approx(4 * served["light"], abs=2)
    assert served["set"] == pytest.approx(served["light"], abs=1)
