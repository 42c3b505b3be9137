"""`pdmesh up`: a whole mesh on this host, kept running until Ctrl-C."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

from services.cli import configuration
from services.cli.autoscaler import Autoscaler
from services.cli.mesh_client import is_ready
from services.cli.mesh_secret import SecretFiles, new_secret
from services.cli.metrics_targets import MetricsTargets
from services.cli.operator.client import OperatorClient
from services.cli.output import Output
from services.cli.plan import plan, router_addresses
from services.cli.ports import free_ports
from services.cli.ready_file import ReadyFile, public_facts, router_urls
from services.cli.startup import startup_unwrapped
from services.cli.supervisor import Supervisor
from services.cli.up_settings import UpSettings
from services.cli.worker_specs import WorkerSpecs
from services.common.background import keep_running
from services.common.clock import MonotonicClock
from services.common.descriptors import raise_limit
from services.common.errors import MeshError, ModelMissing
from services.common.settings import StrictParser
from services.common.telemetry import dropped_notice, relay_output

DESCRIPTION = """\
Start router, gateway and workers on this host and keep them running. Engine arguments
(--tensor-parallel-size and all after it) are for both tiers; with prefill- or decode- in front, as in
--prefill-max-num-batched-tokens or --decode-engine-arg, they are for one tier, and win."""
REDRAW_S = 0.25
PROBE_S = 0.1
ROUTER_TIMEOUT_MS = 5_000


def run(arguments: Sequence[str]) -> int:
    """Start the mesh and supervise it; 0 after a drain, raises `Startup` when it cannot be kept up."""
    settings = parse(arguments)
    relay_output(dropped_notice)
    raise_limit()
    with startup_unwrapped():
        asyncio.run(Mesh(settings).run())
    return 0


def parse(arguments: Sequence[str]) -> UpSettings:
    """The settings of `pdmesh up`; raises `BadSetting` and `ModelMissing`."""
    settings, _ = configuration.read(
        StrictParser(prog="pdmesh up", description=DESCRIPTION), UpSettings, "up", arguments
    )
    check_model(settings.model)
    return settings


def check_model(model: str) -> None:
    """Raise `ModelMissing` for what is neither a directory nor could be a name on the hub."""
    if Path(model).is_dir():
        return
    if model.startswith((".", "/", "~")) or model.count("/") != 1:
        raise ModelMissing(f"{model} is no directory")


class Mesh:
    """All processes of one `pdmesh up`."""

    def __init__(self, settings: UpSettings, on_ready: Callable[[str], None] | None = None) -> None:
        """`on_ready` is called once with the REST API's URL."""
        self._clock = clock = MonotonicClock()
        self._ports, self._cores = free_ports(Random()), sorted(os.sched_getaffinity(0))
        has_secret = settings.mesh.secret or settings.mesh.secret_file
        if not has_secret:  # or any process that reaches a router's port could take requests
            settings = replace(settings, mesh=replace(settings.mesh, secret=new_secret()))
        specs = plan(settings, self._ports, self._cores)
        self._secret_files = SecretFiles(settings.mesh.secret, [] if has_secret else router_addresses(specs))
        self._settings = settings
        self._output = Output(clock, Path(settings.log_dir) if settings.log_dir else None)
        self._output.open_logs([spec.name for spec in specs])
        self._ready_file = ReadyFile(settings.ready_file)
        self._metrics_targets = MetricsTargets(settings.metrics_targets)
        self._supervisor = Supervisor(specs, self._output, clock, settings.grace_ms)
        self._given_up: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self._supervisor.on_given_up = lambda name, why: self._given_up.put_nowait((name, why))
        self._on_ready = on_ready
        self.stop = asyncio.Event()

    async def run(self) -> None:
        """Until `stop` or a signal; raises `Startup`."""
        self._ready_file.clear()
        self._write_secret()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal)
        try:
            async with asyncio.TaskGroup() as tasks:
                background = {"announcement": self._announce, "live line": self._redraw}
                background["report of processes given up"] = self._report_given_up
                if self._settings.autoscale:
                    background["autoscaler"] = self._autoscale
                side = [tasks.create_task(keep_running(name, work)) for name, work in background.items()]
                await self._supervisor.run(self.stop)
                for task in side:
                    task.cancel()
        finally:
            self._ready_file.clear()
            self._secret_files.remove()
            self._output.close()

    def _on_signal(self) -> None:
        if self.stop.is_set():
            self._supervisor.kill()
        else:
            self._output.say("draining; Ctrl-C again to kill")
            self.stop.set()

    async def _announce(self) -> None:
        """Wait until the mesh serves a model, then say where; keep the ready file right ever after."""
        await self._supervisor.all_ready.wait()
        url = public_facts(self._supervisor.ready)["url"]
        while not await self._serves(url):  # noqa: ASYNC110 - another process sets no event of ours
            await asyncio.sleep(PROBE_S)
        self._supervisor.on_change = self._write_files
        self._write_files()
        ready = self._supervisor.ready
        facts, router = public_facts(ready), next(iter(router_urls(ready.values())), "")
        others = f"gRPC {facts.get('grpc', '')}, metrics {url}/metrics, router {router}"
        self._output.say(f"ready: {url}/v1 ({others}), Ctrl-C to stop")
        if self._on_ready:
            self._on_ready(url)

    async def _autoscale(self) -> None:
        """Once all that there was to begin with serves, have as many workers as are needed."""
        await self._supervisor.all_ready.wait()
        security, settings = self._settings.mesh.security(), self._settings
        specs = WorkerSpecs(self._supervisor.specs, self._ports, self._cores, settings.workers_most)
        connects = [
            partial(OperatorClient, url, ROUTER_TIMEOUT_MS, security)
            for url in router_urls(self._supervisor.ready.values())
        ]
        await Autoscaler(connects, self._supervisor, specs, self._clock, self._output.say).run()

    async def _report_given_up(self) -> None:
        """Have the routers show which processes die again and again; told at each death, it may be lost."""
        security = self._settings.mesh.security()
        while True:
            name, why = await self._given_up.get()
            for url in router_urls(self._supervisor.ready.values()):
                with contextlib.suppress(MeshError):
                    async with OperatorClient(url, ROUTER_TIMEOUT_MS, security) as router:
                        await router.note_given_up(name, why)

    async def _serves(self, url: str) -> bool:
        if self._settings.tls.client_ca:
            return True  # we have no client's certificate, and every process has said that it is ready
        return await asyncio.to_thread(is_ready, url)

    def _write_files(self) -> None:
        self._ready_file.write(self._supervisor.ready, self._secret_files.path)
        self._metrics_targets.write(self._supervisor.ready)

    def _write_secret(self) -> None:
        """For operators' commands on this host; the processes have it from their environment."""
        try:
            self._secret_files.write()
        except OSError as error:
            self._output.say(f"commands such as `pdmesh fleet` will lack the mesh's secret: {error}")

    async def _redraw(self) -> None:
        """Keep the live line's clock going."""
        while not self._supervisor.all_ready.is_set():
            self._output.refresh()
            await asyncio.sleep(REDRAW_S)
