"""The peers: what to install, how to start one in front of the engine."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.tidy.source import ROOT

ENVIRONMENTS = ROOT / "build" / "peers"
"""One virtual environment each."""
MODEL = "words"
"""The model's name, at the engine and at pdmesh."""
LOCAL = "127.0.0.1"


@dataclass(frozen=True)
class Place:
    """Where a peer runs and what stands behind it."""

    binaries: Path
    port: int
    spare_port: int
    """For what else it listens on."""
    engine_url: str
    scratch: Path


Command = Callable[[Place], list[str]]


@dataclass(frozen=True)
class Peer:
    """One gateway or router of others."""

    name: str
    language: str
    requirement: str
    """What pip installs; empty where it is on no package index and its environment must be made by hand."""
    distribution: str
    """Whose version is reported."""
    command: Command
    environment: dict[str, str] = field(default_factory=dict)
    note: str = ""
    is_slow: bool = False
    """Whether it is saturated by every case, so that one round of requests says all."""

    @property
    def directory(self) -> Path:
        """Its virtual environment."""
        return ENVIRONMENTS / self.name


def rust_router(*program: str, quiet: str = "warn", more: tuple[str, ...] = ()) -> Command:
    """Three of them take the same flags; `program` is a name in the environment's bin."""

    def command(place: Place) -> list[str]:
        listen = ["--host", LOCAL, "--port", str(place.port)]
        metrics = ["--prometheus-host", LOCAL, "--prometheus-port", str(place.spare_port)]
        workers = ["--worker-urls", place.engine_url, "--policy", "round_robin"]
        return [
            *(str(place.binaries / program[0]), *program[1:], *listen, *metrics, *workers),
            *("--worker-startup-check-interval", "1", "--log-level", quiet, *more),
        ]

    return command


def production_stack(place: Place) -> list[str]:
    """vLLM's production-stack, whose router has the same program name as another peer."""
    backends = ["--service-discovery", "static", "--static-backends", place.engine_url]
    return [
        *(str(place.binaries / "vllm-router"), "--host", LOCAL, "--port", str(place.port), *backends),
        *("--static-models", MODEL, "--routing-logic", "roundrobin", "--log-level", "warning"),
    ]


def litellm(place: Place) -> list[str]:
    """LiteLLM's proxy with one model; JSON is YAML."""
    params = {"model": f"openai/{MODEL}", "api_base": f"{place.engine_url}/v1", "api_key": "none"}
    config = {"model_list": [{"model_name": MODEL, "litellm_params": params}]}
    file = place.scratch / "litellm.yaml"
    file.write_text(json.dumps(config))
    listen = ["--host", LOCAL, "--port", str(place.port)]
    return [str(place.binaries / "litellm"), "--config", str(file), *listen]


PEERS = (
    Peer(
        "vllm-router",
        "Rust",
        "vllm-router==0.1.17",
        "vllm-router",
        rust_router("vllm-router", quiet="warning"),
    ),
    Peer("smg", "Rust", "smg==1.13.0", "smg", rust_router("smg", "launch")),
    Peer(
        "sglang-router",
        "Rust",
        "sglang-router==0.3.2",
        "sglang-router",
        rust_router("python", "-m", "sglang_router.launch_router"),
    ),
    Peer(
        "production-stack",
        "Python",
        "",
        "vllm-router",
        production_stack,
        note="vLLM's production-stack has its router on no package index (`vllm-router` there is another "
        "program): it takes part where its environment was made by hand from its repository",
    ),
    Peer(
        "litellm",
        "Python",
        "litellm[proxy]==1.106.2",
        "litellm",
        litellm,
        {
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_LOG": "ERROR",
            "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
        },
        is_slow=True,
    ),
)
