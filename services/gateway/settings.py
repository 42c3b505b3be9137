"""What the gateway can be told."""

from dataclasses import dataclass

from services.common.credentials import JwtSettings, MeshSettings, TlsSettings
from services.common.retrieval import RetrievalSettings
from services.common.settings import group, setting
from services.gateway.idempotency.key import HEADERS, IDEMPOTENCY_KEY
from services.gateway.tenants import CONTROL_TOKENS, TAKEN
from services.gateway.tenants.internals import AUDIENCES, EVERYBODY
from services.gateway.tracing.settings import TracingSettings

PORT_MAX = 65_535


@dataclass(frozen=True, slots=True)
class SloSettings:
    """What an answer must keep to count as good in `pdmesh_gateway_slo_answers`; 0 is no objective."""

    ttft_ms: float = setting(600.0, "objective for the time to the first token; 0 is none", least=0)
    tpot_ms: float = setting(40.0, "objective for the mean time between tokens; 0 is none", least=0)
    e2e_ms: float = setting(0.0, "objective for the time to the last token; 0 is none", least=0)


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one gateway process."""

    host: str = setting("127.0.0.1", "address of the REST and gRPC APIs")
    port: int = setting(8000, "port of the REST API; 0 picks a free one", least=0, most=PORT_MAX)
    grpc_port: int | None = setting(
        None,
        "port of the gRPC API; the one after --port where not set; 0 picks a free one",
        least=0,
        most=PORT_MAX,
    )
    reuse_port: bool = setting(False, "share the ports with other gateway processes (SO_REUSEPORT)")
    metrics_port: int = setting(
        0, "extra port for Prometheus, besides /metrics; 0 is off", least=0, most=PORT_MAX
    )
    router: tuple[str, ...] = setting(
        ("127.0.0.1:9000",), "routers, HOST:PORT; the first that answers is used"
    )
    model: str = setting("", "directory with the model's tokenizer and chat template")
    served_model_name: str = setting("", "name that requests use; all that the router serves where not set")
    models_file: str = setting(
        "", "TOML file of aliases, weighted versions, `auto` and adapters; read again when it changes"
    )
    tool_call_parser: str = setting(
        "", "vLLM's parser for the model's tool calls, such as hermes; none: tools are refused"
    )
    reasoning_parser: str = setting(
        "", "vLLM's parser for the model's reasoning, such as qwen3; none: it stays in the text"
    )
    gateway_id: str = setting("", "name of this gateway; made up from host and process id when empty")
    store: str = setting(
        "",
        "Redis that gateways share for quotas, usage, idempotency and responses; none: each keeps its own",
        is_secret=True,
    )
    answers_secret: str = setting(
        "",
        "secret with which Redis gets responses and answers to idempotency keys encrypted; older ones, which "
        "only decrypt, follow after spaces or on further lines",
        is_secret=True,
    )
    store_failure: str = setting(
        "open",
        "without an answer from it, limited tenants get this gateway's share of their limits and idempotency "
        "keys reach this gateway only (open), or both are refused (closed)",
        choices=("open", "closed"),
    )
    usage_dir: str = setting(
        "",
        "directory for usage that Redis has not counted yet, which the next gateway on this host finds; one "
        "below the system's temporary directory where not set",
    )
    request_log_dir: str = setting(
        "",
        "directory for one line per request, which `pdmesh requests` and `pdmesh why` read; none: only the "
        "process's log has them",
    )
    request_log_size_mib_max: int = setting(
        1_024, "size of all its files together, in MiB; the oldest go first", least=2
    )
    price: tuple[str, ...] = setting(
        (),
        "cost of a model, as in chat=0.5/0.25/1.5: a million prompt, cached and generated tokens, and "
        "KV-seconds as a fourth; * is every other model; repeatable",
    )
    tenants: str = setting(
        "", "file of tenants, TOML or YAML, or `redis`: in --store; none: everybody is anonymous"
    )
    jwt: JwtSettings = group(JwtSettings, "jwt_")
    cors_origin: tuple[str, ...] = setting(
        (),
        "web pages that may ask from their visitors' browsers, by origin, as in https://chat.example.org; "
        "* is every page; none: no page may; repeatable",
    )
    internals_for: str = setting(
        EVERYBODY,
        "who may see what is inside the mesh: /metrics, the models in /ready, gRPC reflection, receipts and "
        "names of workers; tenants are callers with a credential, admins are tenants with is_admin",
        choices=AUDIENCES,
    )
    tls: TlsSettings = group(TlsSettings, "tls_")
    mesh: MeshSettings = group(MeshSettings, "mesh_")
    idempotency_header: str = setting(
        IDEMPOTENCY_KEY,
        "header that names a retry; with x-request-id, that one where there is no idempotency-key",
        choices=HEADERS,
    )
    idempotency_linger_ms: int = setting(
        10_000, "how long a request with an idempotency key runs on without a reader", least=0
    )
    retrieval: RetrievalSettings = group(RetrievalSettings, "retrieval_")
    control_tokens: str = setting(
        TAKEN,
        "what a control token such as <|im_end|> is that a caller writes into a message: the token, as with "
        "vLLM (taken), or its letters (plain); tenants may have their own",
        choices=CONTROL_TOKENS,
    )
    chat_max_tokens_default: int = setting(0, "max_tokens of a chat that names none; 0 is all that fits")
    resume_wait_ms: int = setting(
        10_000, "how long requests, also new ones, wait for a lost router or a model's only worker", least=0
    )
    slo: SloSettings = group(SloSettings, "slo_")
    tracing: TracingSettings = group(TracingSettings, "trace_")
    grace_ms: int = setting(20_000, "time to finish what is in flight after SIGTERM", least=0)

    def __post_init__(self) -> None:
        if not self.model:
            raise ValueError("--model is needed: a directory, or a name on the Hugging Face hub")

    @property
    def own_grpc_port(self) -> int:
        """The port of the gRPC API; 0 is any free one."""
        if self.grpc_port is not None:
            return self.grpc_port
        return self.port + 1 if 0 < self.port < PORT_MAX else 0
