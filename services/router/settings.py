"""What the router can be told."""

from dataclasses import dataclass

from services.common.credentials import MeshSettings
from services.common.scaling import TierScaling
from services.common.settings import group, setting


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one router process."""

    host: str = setting("127.0.0.1", "address to listen on for gateways and workers")
    port: int = setting(9000, "gRPC port; 0 picks a free one", least=0, most=65535)
    lane_port: int = setting(
        0,
        "TCP port that carries their streams without HTTP/2; 0 picks a free one, -1 is off",
        least=-1,
        most=65535,
    )
    metrics_port: int = setting(0, "port for Prometheus; 0 is off", least=0, most=65535)
    router_id: str = setting("", "name of this router; made up from host and process id when empty")
    mesh: MeshSettings = group(MeshSettings, "mesh_")
    store: str = setting(
        "", "Redis through which routers scale their fleet as one; none: this one is alone", is_secret=True
    )
    local_prompt_tokens_max: int = setting(64, "prompts up to this many tokens skip the handoff")
    expected_output_tokens: int = setting(
        256, "KV room reserved for an answer at least, in tokens; more where a model's answers take more"
    )
    learns_threshold: bool = setting(False, "learn that length from measured prefill and handoff times")
    model_version: tuple[str, ...] = setting(
        (), "versions behind a name by weight, as in chat=model-a:90,model-b:10; repeatable"
    )
    tenant_weight: tuple[str, ...] = setting((), "share of a tenant, as in gold=3; repeatable")
    ageing_ms: int = setting(5_000, "who has waited this long is next, whatever its class or tenant", least=0)
    times_policies: bool = setting(True, "measure the time that each placement policy takes")
    queue_requests_max: int = setting(2_048, "requests that may wait per pool and tier")
    queue_wait_ms_max: int = setting(10_000, "time that a request may wait to be placed", least=0)
    retries_per_request_max: int = setting(3, "times that a request may be placed again")
    prefill_timeout_ms: int = setting(60_000, "a prefill without an offer after this has failed", least=1)
    stall_timeout_ms: int = setting(60_000, "a worker with jobs and no news for this long is stuck", least=1)
    canary_interval_ms: int = setting(60_000, "time between two correctness canaries; 0 is off", least=0)
    role_dwell_ms_min: int = setting(
        60_000, "time that a worker keeps a role before it may change it", least=0
    )
    role_flips_per_hour_max: int = setting(12, "role changes of the whole fleet within an hour")
    autoscale: bool = setting(
        False, "activate spares, flip roles and drain by the scaler's decisions, instead of only telling them"
    )
    rebalance: bool = setting(True, "let an idle tier's worker change over to a starving one, if --autoscale")
    scaling_interval_ms: int = setting(500, "time between two decisions of the scaler", least=10)
    prefill_scaling: TierScaling = group(TierScaling, "prefill_")
    decode_scaling: TierScaling = group(TierScaling, "decode_")
    quarantine_dir: str = setting("", "directory for prompts that killed workers; empty keeps none")
    grace_ms: int = setting(20_000, "time to finish what is in flight after SIGTERM", least=0)
