"""Settings of `pdmesh up`."""

from dataclasses import dataclass

from services.common.credentials import JwtSettings, MeshSettings, TlsSettings
from services.common.limits import DEFAULTS
from services.common.retrieval import RetrievalSettings
from services.common.scaling import TierScaling
from services.common.settings import group, setting
from services.worker.engine_arguments import EngineArguments


@dataclass(frozen=True, slots=True)
class UpSettings:
    """A whole mesh on one host."""

    model: str = setting("", "Model: a directory, or a name on the Hugging Face hub")
    served_model_name: str = setting("", "Name that requests use; the directory's or hub's own where not set")
    engine: str = setting("vllm", "Engine of the workers", choices=("vllm", "sim"))
    lora_adapter: tuple[str, ...] = setting(
        (), "LoRA adapter that requests may name as their model, NAME=DIRECTORY; repeatable"
    )
    prefill: int = setting(1, "Prefill workers")
    decode: int = setting(1, "Decode workers")
    standby_prefill: int = setting(0, "Prefill workers that load, then wait for `pdmesh activate`")
    standby_decode: int = setting(0, "Decode workers that load, then wait for `pdmesh activate`")
    autoscale: bool = setting(
        False, "Start and end workers as the work needs; --prefill and --decode are how many to begin with"
    )
    prefill_scaling: TierScaling = group(TierScaling, "prefill_")
    decode_scaling: TierScaling = group(TierScaling, "decode_")
    routers: int = setting(1, "Routers, each of which serves with every worker", least=1)
    edge: bool = setting(
        False, "Run gateway and router as one process: it costs less, and clients lose what it had if it dies"
    )
    host: str = setting("127.0.0.1", "Address on which the REST and gRPC APIs listen")
    port: int = setting(8000, "Port of the REST API; 0 picks a free one", least=0, most=65535)
    grpc_port: int | None = setting(
        None,
        "Port of the gRPC API; the one after --port where not set; 0 picks a free one",
        least=0,
        most=65535,
    )
    tool_call_parser: str = setting(
        "", "vLLM's parser for the model's tool calls, such as hermes; none: tools are refused"
    )
    reasoning_parser: str = setting(
        "", "vLLM's parser for the model's reasoning, such as qwen3; none: it stays in the text"
    )
    models_file: str = setting(
        "", "TOML file of aliases, weighted versions, `auto` and adapters; read again when it changes"
    )
    tenants: str = setting(
        "", "File of tenants, TOML or YAML, or `redis`: in --redis-url; none: everybody is anonymous"
    )
    jwt: JwtSettings = group(JwtSettings, "jwt_")
    price: tuple[str, ...] = setting(
        (),
        "Cost of a model, as in chat=0.5/0.25/1.5: a million prompt, cached and generated tokens, and "
        "KV-seconds as a fourth; * is every other model; repeatable",
    )
    request_log_dir: str = setting(
        "", "Directory for one line per request, which `pdmesh requests` and `pdmesh why` read"
    )
    usage_dir: str = setting(
        "", "Directory for usage that Redis has not counted yet; a temporary one where not set"
    )
    store_failure: str = setting(
        "open",
        "Without an answer from Redis, limits and idempotency keys hold for the gateway alone (open) or both "
        "are refused (closed)",
        choices=("open", "closed"),
    )
    retrieval: RetrievalSettings = group(RetrievalSettings, "retrieval_")
    tls: TlsSettings = group(TlsSettings, "tls_")
    mesh: MeshSettings = group(MeshSettings, "mesh_")
    redis_url: str = setting(
        "", "Redis for state that processes share; none: each keeps its own", is_secret=True
    )
    answers_secret: str = setting(
        "",
        "Secret with which Redis gets answers to idempotency keys encrypted; older ones follow",
        is_secret=True,
    )
    ready_file: str = setting("", "File to write when the mesh serves: URLs, process ids, ports, as JSON")
    metrics_targets: str = setting(
        "", "File to keep with all processes' metrics as Prometheus' file_sd_configs takes them"
    )
    log_dir: str = setting("", "Directory for one log file per process; none: logs go to the terminal")
    log_level: str = setting("info", "Least level logged", choices=("debug", "info", "warning", "error"))
    grace_ms: int = setting(
        DEFAULTS.shutdown_grace_ms, "Time to finish what is in flight after Ctrl-C", least=0
    )
    both: EngineArguments = group(EngineArguments)
    prefill_only: EngineArguments = group(EngineArguments, "prefill_", in_help=False)
    decode_only: EngineArguments = group(EngineArguments, "decode_", in_help=False)

    def __post_init__(self) -> None:
        if not self.model:
            raise ValueError("--model is needed: a directory, or a name on the Hugging Face hub")
        if min(self.prefill, self.standby_prefill, self.standby_decode) < 0 or self.decode < 1:
            raise ValueError("a mesh needs at least one decode worker, and no negative number of any")
        if self.edge and self.routers > 1:
            raise ValueError("--edge has one router, in the gateway's process: not several --routers")
        if self.autoscale:
            self._check_autoscaling()

    def _check_autoscaling(self) -> None:
        if self.standby_prefill or self.standby_decode:
            raise ValueError("--autoscale has spares of its own: --prefill-spares and --decode-spares")
        if self.routers > 1 and not self.redis_url:
            raise ValueError("--autoscale with several --routers needs --redis-url: there they agree on one")
        for role, begin in (("prefill", self.prefill), ("decode", self.decode)):
            least, most = self.scaling(role).replicas_min, self.scaling(role).replicas_max
            if not max(1, least) <= begin <= most:
                raise ValueError(f"--{role} is {begin}; --autoscale begins with {max(1, least)} to {most}")

    def scaling(self, role: str) -> TierScaling:
        """How one tier scales."""
        return self.prefill_scaling if role == "prefill" else self.decode_scaling

    def standby(self, role: str) -> int:
        """Workers of one tier that wait without work from the start."""
        if self.autoscale:
            return self.scaling(role).spares
        return self.standby_prefill if role == "prefill" else self.standby_decode

    @property
    def workers_most(self) -> int:
        """Workers on this host at one time."""
        if not self.autoscale:
            return self.prefill + self.decode + self.standby_prefill + self.standby_decode
        return sum(self.scaling(role).replicas_max + self.standby(role) for role in ("prefill", "decode"))

    def engine_args(self, role: str) -> list[str]:
        """KEY=VALUE engine arguments of one tier: those for both, then the tier's own, so that they win."""
        own = self.prefill_only if role == "prefill" else self.decode_only
        return [*self.both.pairs(), *own.pairs()]
