"""The autoscaler does as the router says, with small scripts for workers."""

import asyncio
import os
import signal

import pytest

from pdmesh.operator.v1 import operator_pb2 as wire
from pdmesh.types.v1 import types_pb2
from services.cli.autoscaler import Autoscaler
from services.cli.plan import ChildSpec, plan
from services.cli.up_settings import UpSettings
from services.cli.worker_specs import WorkerSpecs
from services.common.clock import ManualClock
from services.common.scaling import TierScaling
from tests.unit.cli.test_supervisor import CANNOT_START, LEAVES_IN_ORDER, Mesh, script


class ScriptSpecs:
    """Workers that are scripts."""

    def __init__(self, text: str) -> None:
        self.text, self.made = text, []

    def new(self, service: str, running, *, standby: bool) -> ChildSpec:
        self.made.append(f"{service}-{len(running) + 1}{' standby' if standby else ''}")
        return script(f"{service}-{len(running) + 1}", self.text, service)


class Host:
    """A supervisor with one decode worker, and an autoscaler that is told things."""

    def __init__(self, tmp_path, added: str = "") -> None:
        text = f"NAME = 'w'\nTRACE = {str(tmp_path / 'trace')!r}\n{LEAVES_IN_ORDER}"
        self.mesh = Mesh(script("decode-1", text, "decode"))
        self.specs, self.clock, self.said = ScriptSpecs(added or text), ManualClock(), []
        supervisor = self.mesh.supervisor
        self.scaler = Autoscaler([], supervisor, self.specs, self.clock, self.said.append)

    def told(self, desired: int, *known: str, spares: int = 0, stoppable=(), follows=False) -> None:
        role = types_pb2.ROLE_DECODE
        tier = wire.TierScaling(
            model="m", role=role, desired_workers=desired, desired_spares=spares, attached_workers=len(known)
        )
        self.scaler.obey(
            wire.WatchScalingResponse(
                tiers=[tier], known_workers=known, stoppable_workers=stoppable, follows=follows
            )
        )

    async def until(self, condition) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.01)


@pytest.fixture
async def host(tmp_path):
    host = Host(tmp_path)
    await host.mesh.ready()
    yield host
    await host.mesh.end()


async def test_what_lacks_is_started_once(host):
    host.told(3, "decode-1")
    host.told(3, "decode-1")
    assert host.specs.made == ["decode-2", "decode-3"]
    await host.until(lambda: len(host.mesh.supervisor.ready) == 3)
    host.told(3, "decode-1", "decode-2")
    host.told(3, "decode-1", "decode-2", "decode-3")
    assert len(host.specs.made) == 2


async def test_only_the_router_that_decides_is_obeyed(host):
    host.told(3, "decode-1", stoppable=["decode-1"], follows=True)
    assert host.specs.made == []
    assert host.mesh.supervisor.members("decode") == ["decode-1"]
    host.told(2, "decode-1")
    assert host.specs.made == ["decode-2"]


async def test_spares_start_without_work(host):
    host.told(1, "decode-1", spares=1)
    assert host.specs.made == ["decode-2 standby"]


async def test_a_drained_worker_ends_for_good_and_its_name_is_free_again(host):
    host.told(2, "decode-1")
    await host.until(lambda: "decode-2" in host.mesh.supervisor.ready)
    host.told(1, "decode-1", "decode-2", stoppable=["decode-2"])
    host.told(1, "decode-1", "decode-2", stoppable=["decode-2"])
    await host.until(lambda: host.mesh.supervisor.members("decode") == ["decode-1"])
    await host.until(lambda: len(host.mesh.supervisor.specs) == 1)
    assert sum("ending it" in line for line in host.said) == 1
    assert "died" not in host.mesh.said
    host.told(2, "decode-1")
    assert host.specs.made == ["decode-2", "decode-2"]


async def test_a_killed_worker_is_restarted_and_not_replaced(host):
    host.told(2, "decode-1")
    await host.until(lambda: "decode-2" in host.mesh.supervisor.ready)
    pid = host.mesh.supervisor.ready["decode-2"].pid
    os.kill(pid, signal.SIGKILL)
    await host.until(lambda: "decode-2" not in host.mesh.supervisor.ready)
    host.told(2, "decode-1")
    assert len(host.specs.made) == 1
    await host.until(lambda: host.mesh.supervisor.ready.get("decode-2", None) is not None)


async def test_a_worker_that_cannot_start_is_given_up_and_the_mesh_goes_on(tmp_path):
    host = Host(tmp_path, CANNOT_START)
    await host.mesh.ready()
    host.told(2, "decode-1")
    await host.until(lambda: any("given up" in line for line in host.said))
    host.told(2, "decode-1")
    assert len(host.specs.made) == 1
    host.clock.advance(60_000)
    host.told(2, "decode-1")
    assert len(host.specs.made) == 2
    assert list(host.mesh.supervisor.ready) == ["decode-1"]
    await host.mesh.end()


def test_further_workers_are_like_the_first():
    settings = UpSettings(
        model="m",
        engine="vllm",
        autoscale=True,
        prefill_scaling=TierScaling(replicas_max=1),
        decode_scaling=TierScaling(replicas_max=2, spares=1),
    )
    planned = plan(settings, iter(range(1_000, 1_100)), range(8))
    specs = WorkerSpecs(planned, iter(range(2_000, 2_100)), range(8), settings.workers_most)
    new = specs.new("decode", planned, standby=True)
    assert new.name == "decode-3"
    flags = dict(zip(new.command, new.command[1:], strict=False))
    first = next(spec.command for spec in planned if spec.name == "decode-1")
    assert (flags["--worker-id"], flags["--port"], flags["--cores"]) == ("decode-3", "2000", "6,7")
    assert new.command[-1] == "--standby"
    assert flags["--routers"] == first[first.index("--routers") + 1]
    router = next(spec.command for spec in planned if spec.service == "router")
    assert "--autoscale" in router
    assert router[router.index("--decode-spares") + 1] == "1"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"standby_decode": 1}, "--decode-spares"),
        ({"decode": 9}, "--decode is 9; --autoscale begins with 1 to 8"),
        ({"prefill": 0}, "--prefill is 0"),
        ({"routers": 2}, "needs --redis-url"),
    ],
)
def test_what_autoscaling_cannot_do_is_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        UpSettings(model="m", autoscale=True, **settings)
