"""Keeps a set of processes running until told to stop, then stops them in order."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from services.cli.child import NEVER_STARTED, Child, Exit
from services.cli.output import Output
from services.cli.plan import DRAIN_ORDER, ChildSpec
from services.cli.restarts import RestartPolicy
from services.cli.startup import startup_unwrapped
from services.common.clock import Clock
from services.common.errors import CrashLoop, Startup, StoreUnavailable, by_reason

CONFIGURATION_EXIT_CODE = 2
STORE_RETRY_S = 1.0
INSTEAD = {"prefill": ("prefill", "decode")}
"""Services whose work others can do as well: a decode worker runs prompts by itself."""


class Supervisor:
    """Owns the mesh's processes. Raises `Startup` when the mesh cannot be kept up."""

    def __init__(
        self,
        specs: Sequence[ChildSpec],
        output: Output,
        clock: Clock,
        grace_ms: int,
        restart_policy: Callable[[], RestartPolicy] = RestartPolicy,
    ) -> None:
        """`restart_policy` makes one policy per process."""
        self._specs = specs
        self._output = output
        self._clock = clock
        self._grace_ms = grace_ms
        self._restart_policy = restart_policy
        self._children: dict[str, Child] = {}
        self._retired: set[str] = set()
        self._added: set[str] = set()
        self._given_up: set[str] = set()
        """Those that die again and again, and are tried now and then."""
        self._failure: Startup | None = None
        self._has_failed = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None
        self._stopping = asyncio.Event()
        self.all_ready = asyncio.Event()
        """Set once every process has been ready."""
        self.on_change: Callable[[], None] = lambda: None
        """Called whenever a process has become ready, or has ended for good."""
        self.on_given_up: Callable[[str, str], None] = lambda _name, _why: None
        """Called with name and reason at each death of a process without which the mesh goes on."""
        self.on_lost: Callable[[str, str], None] = lambda _name, _why: None
        """Called with name and reason when a process that was added is given up."""

    @property
    def ready(self) -> dict[str, Child]:
        """The processes that serve, by name."""
        return {name: child for name, child in self._children.items() if child.facts is not None}

    @property
    def specs(self) -> list[ChildSpec]:
        """All processes that have not ended for good."""
        return [child.spec for child in self._children.values()]

    def members(self, service: str) -> list[str]:
        """Names of a service's processes that are to run, whether they do already or not."""
        children = ((name, child) for name, child in self._children.items() if name not in self._retired)
        return [name for name, child in children if child.spec.service == service]

    def add(self, spec: ChildSpec) -> None:
        """Run one more process from here on, and keep it running; nothing while all is being stopped."""
        if self._tasks is not None and not self._stopping.is_set():
            self._output.open_logs([spec.name])
            self._children[spec.name] = self._child(spec)
            self._added.add(spec.name)
            self._tasks.create_task(self._keep_added(spec))

    def retire(self, name: str) -> bool:
        """Have one process drain and end for good; False when it is not there or has been told so.

        It is killed when the grace time is over: one that hangs would keep its accelerator for ever.
        """
        child = self._children.get(name)
        if child is None or name in self._retired or self._tasks is None:
            return False
        self._retired.add(name)
        child.terminate()
        self._tasks.create_task(self._end_by_force(child))
        return True

    async def run(self, stop: asyncio.Event) -> None:
        """Start everything, restart what dies, and drain when `stop` is set or the mesh cannot be kept up."""
        with startup_unwrapped():
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                for spec in self._specs:
                    tasks.create_task(self._keep_planned(spec))
                await self._until_end(stop, tasks)
                if self._failure is not None and not self.all_ready.is_set():
                    self.kill()  # nothing has been served
                else:
                    await self._drain()
        if self._failure is not None:
            raise self._failure

    def kill(self) -> None:
        """End every process at once."""
        self._stopping.set()
        for child in self._children.values():
            child.kill()

    async def _until_end(self, stop: asyncio.Event, tasks: asyncio.TaskGroup) -> None:
        ends = [tasks.create_task(event.wait()) for event in (stop, self._has_failed)]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()

    async def _keep_planned(self, spec: ChildSpec) -> None:
        """Run one process that the mesh began with; if it cannot be kept up, the mesh ends."""
        try:
            await self._keep(spec)
        except Startup as error:
            self._failure = self._failure or error
            self._has_failed.set()

    async def _keep(self, spec: ChildSpec) -> None:
        """Run one process again and again."""
        policy, was_ready = self._restart_policy(), False
        while not self._stopping.is_set() and spec.name not in self._retired:
            child = self._children[spec.name] = self._child(spec)
            self._output.state(spec.name, "starting")
            end = await child.run(self._on_ready)
            was_ready = was_ready or child.facts is not None
            child.facts = None
            if not self._stopping.is_set() and spec.name not in self._retired:
                await self._before_restart(spec.name, end, policy, was_ready)
        if spec.name in self._retired:
            self._forget(spec.name)

    async def _keep_added(self, spec: ChildSpec) -> None:
        """The same; one that cannot be kept up is given up, and the others go on."""
        try:
            await self._keep(spec)
        except Startup as error:
            self._forget(spec.name)
            self.on_lost(spec.name, error.message)

    async def _end_by_force(self, child: Child) -> None:
        """Kill a process that does not end within the grace time."""
        try:
            async with asyncio.timeout(self._grace_ms / 1000.0):
                await child.ended.wait()
        except TimeoutError:
            if self._children.get(child.spec.name) is not child:
                return  # it never ran
            self._output.say(f"killing {child.spec.name}, which did not end in {self._grace_ms / 1000:.0f} s")
            child.kill()

    def _child(self, spec: ChildSpec) -> Child:
        return Child(spec, partial(self._output.child_line, spec.name))

    def _forget(self, name: str) -> None:
        """A process has ended for good; its name may be used again."""
        self._children.pop(name, None)
        self._retired.discard(name)
        self._added.discard(name)
        self._output.forget(name)
        self.on_change()

    def _on_ready(self, child: Child) -> None:
        self._output.state(child.spec.name, "ready")
        self._given_up.discard(child.spec.name)
        self._note_readiness()
        self.on_change()

    def _note_readiness(self) -> None:
        if len(self.ready.keys() | self._given_up) >= len(self._specs):
            self.all_ready.set()

    async def _before_restart(self, name: str, end: Exit, policy: RestartPolicy, was_ready: bool) -> None:
        """Say that a process died, and wait as long as its policy wants; raises `Startup` to give up."""
        if end.code == CONFIGURATION_EXIT_CODE and not was_ready:
            raise refusal(name, end)
        needs_store = was_ready and end.last_words.startswith(StoreUnavailable.reason)
        if needs_store or end.code == NEVER_STARTED:
            # No crash, and what serves goes on meanwhile.
            self._output.say(f"{name} cannot start again ({end}); trying again in {STORE_RETRY_S:.0f} s")
            await self._pause(STORE_RETRY_S)
            return
        delay_ms = policy.delay_ms(self._clock.now_ms())
        if delay_ms is None:
            self._give_up(
                name, f"died {policy.deaths_max + 1} times in {policy.window_ms / 1000:.0f} s: {end}"
            )
            delay_ms = policy.given_up_delay_ms
        self._output.say(f"{name} died ({end}); starting it again in {delay_ms / 1000:.1f} s")
        await self._pause(delay_ms / 1000.0)

    def _give_up(self, name: str, why: str) -> None:
        """Go on without one that dies again and again; raises `CrashLoop` where the mesh cannot."""
        if name in self._added or not self._serves_without(name):
            raise CrashLoop(f"{name} {why}")
        self._given_up.add(name)
        self._output.say(f"{name} is given up, and the mesh goes on without it: it {why}")
        self._output.state(name, "given up")
        self._note_readiness()
        self.on_given_up(name, why)

    def _serves_without(self, name: str) -> bool:
        """Whether another process that has not been given up does the same work."""
        able = INSTEAD.get(self._children[name].spec.service, (self._children[name].spec.service,))
        return any(
            child.spec.service in able and "--standby" not in child.spec.command
            for other, child in self._children.items()
            if other != name and other not in self._given_up | self._retired
        )

    async def _pause(self, pause_s: float) -> None:
        """Unless all is being stopped."""
        try:
            async with asyncio.timeout(pause_s):
                await self._stopping.wait()
        except TimeoutError:
            return

    async def _drain(self) -> None:
        """Stop tier after tier; what has not ended when the grace time is over is killed."""
        self._stopping.set()
        try:
            async with asyncio.timeout(self._grace_ms / 1000.0):
                for tier in DRAIN_ORDER:
                    await self._end_tier(tier)
        except TimeoutError:
            left = [name for name, child in self._children.items() if not child.ended.is_set()]
            self._output.say(
                f"killing what did not drain in {self._grace_ms / 1000:.0f} s: {', '.join(left)}"
            )
            self.kill()

    async def _end_tier(self, services: Sequence[str]) -> None:
        tier = [child for child in self._children.values() if child.spec.service in services]
        for child in tier:
            child.terminate()
        for child in tier:
            await child.ended.wait()


def refusal(name: str, end: Exit) -> Startup:
    """A process's own reason for not starting, with its name in front."""
    reason, _, message = end.last_words.partition(": ")
    kind = by_reason(reason)
    if issubclass(kind, Startup):
        return kind(f"{name}: {message}")
    return Startup(f"{name}: {end}")
