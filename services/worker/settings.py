"""What both kinds of worker can be told."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath

from services.common.credentials import MeshSettings
from services.common.domain import Role
from services.common.domain.address import split_address
from services.common.limits import DEFAULTS
from services.common.settings import group, setting
from services.worker.identity import made_up_worker_id

ROLES = tuple(role.name.lower() for role in Role)


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Settings of one worker process, apart from its engine's arguments."""

    model: str = setting("", "Model: a directory, or a name on the Hugging Face hub")
    served_model_name: str = setting("", "Name that requests use; the directory's or hub's own where not set")
    engine: str = setting("vllm", "What runs the model", choices=("vllm", "sim"))
    routers: tuple[str, ...] = setting(("127.0.0.1:9000",), "Routers to attach to, HOST:PORT each")
    host: str = setting("127.0.0.1", "Address on which health and reflection listen")
    port: int = setting(0, "Port of health and reflection; 0 picks a free one", least=0, most=65535)
    mesh: MeshSettings = group(MeshSettings, "mesh_")
    metrics_port: int = setting(0, "Port for Prometheus; 0 is off", least=0, most=65535)
    worker_id: str = setting("", "Name of this worker; made up from host and process id where not set")
    role: str = setting("", "Role to begin with; the command's own where not set", choices=ROLES)
    lora_adapter: tuple[str, ...] = setting(
        (), "LoRA adapter that requests may name as their model, NAME=DIRECTORY; repeatable"
    )
    standby: bool = setting(False, "Load and register, and get no work before `pdmesh activate`")
    cores: str = setting("", "CPU cores of a CPU engine, for example 0,2-5; not set: all that are allowed")
    handoff_host: str = setting(
        "",
        "Address of this host at which other workers take KV over; not set: --host where that is one "
        "address, else the local address of the route to the router",
    )
    side_channel_port: int = setting(
        0, "Port where decode workers ask for memory registrations; 0 is any", least=0, most=65535
    )
    handoff_lease_ms: int = setting(DEFAULTS.handoff_lease_ms, "How long offered KV is kept", least=1)
    grammar_burst_ms: int = setting(
        DEFAULTS.grammar_burst_ms,
        "Processor time that one answer's grammar may take of the engine's steps; past it that answer ends",
        least=1,
    )
    grammar_token_ms: int = setting(
        DEFAULTS.grammar_token_ms, "What each token adds to that time, until it is whole again", least=0
    )
    load_interval_ms: int = setting(250, "Time between two load reports to each router", least=1)
    deep_check_interval_ms: int = setting(
        30_000, "An engine idle for so long must generate a few tokens to stay ready; 0 is off", least=0
    )
    grace_ms: int = setting(
        DEFAULTS.shutdown_grace_ms, "Time to finish what is in flight after SIGTERM", least=0
    )

    def __post_init__(self) -> None:
        if not self.model:
            raise ValueError("--model is needed: a directory, or a name on the Hugging Face hub")
        if not self.router_addresses:
            raise ValueError("--routers is needed: at least one HOST:PORT")
        for address in self.router_addresses:
            _require_address(address)
        _named_adapters(self.lora_adapter)
        if self.load_interval_ms < 1:
            raise ValueError(f"--load-interval-ms: {self.load_interval_ms} is not at least 1")

    @property
    def router_addresses(self) -> tuple[str, ...]:
        """Each router once; one text may hold several, separated by commas."""
        named = (part.strip() for text in self.routers for part in text.split(","))
        return tuple(dict.fromkeys(address for address in named if address))

    @property
    def name(self) -> str:
        """The model's name as requests use it."""
        return self.served_model_name or PurePath(self.model).name

    @property
    def adapters(self) -> dict[str, str]:
        """Directory of each LoRA adapter by name."""
        return _named_adapters(self.lora_adapter)

    def identity(self) -> str:
        """This worker's id, a new one with each call where none is set."""
        return self.worker_id or made_up_worker_id()

    def first_role(self, own: Role) -> Role:
        """The role to register with; `own` is that of the command."""
        return Role[self.role.upper()] if self.role else own


def _require_address(address: str) -> None:
    try:
        split_address(address)
    except ValueError as error:
        raise ValueError(f"--routers: {error}") from None


def _named_adapters(written: Iterable[str]) -> dict[str, str]:
    """`["style=/adapters/style"]` as a mapping; raises ValueError."""
    named: dict[str, str] = {}
    for entry in written:
        name, _, directory = entry.partition("=")
        if not name or not directory:
            raise ValueError(f"--lora-adapter: {entry!r} is not NAME=DIRECTORY")
        if name in named:
            raise ValueError(f"--lora-adapter: {name!r} is named twice")
        named[name] = directory
    return named
