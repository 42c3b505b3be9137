"""The experiments' numbers. Times of the engine, the scaler and the promises are multiplied by `SLOWER`."""

from collections.abc import Iterator
from dataclasses import dataclass

SLOWER = 8.0
"""Everything runs so many times slower than life, because clients, mesh and all workers share few cores."""


@dataclass(frozen=True)
class Promise:
    """95 of 100 requests get this; milliseconds of life."""

    ttft_ms: float = 600.0
    tpot_ms: float = 40.0
    e2e_ms: float = 4_000.0


PROMISE = Promise()
ENGINE = {
    "step-ms": 14.0 * SLOWER,
    "sequence-us": 20.0 * SLOWER,
    "prefill-tokens-per-s": 12_000.0 / SLOWER,
    "handoff-latency-ms": 2.0 * SLOWER,
    "handoff-gb-per-s": 10.0 / SLOWER,
    "kv-blocks": 8_192,
    "max-model-len": 16_384,
    "load-ms": 5_000.0 * SLOWER,
}
"""A step of 15.3 ms with 64 sequences; 24 prompts of 500 tokens a second; 5 s of loading."""
DECODE_SEATS = 64


@dataclass(frozen=True)
class Tiers:
    """How many workers a run may have."""

    begin: int = 1
    most: int = 4
    spares: int = 3


def flags(tiers: Tiers, *, autoscales: bool) -> Iterator[str]:
    """Flags of `pdmesh up`."""
    yield from ("--engine", "sim", "--log-level", "warning")
    for key, value in ENGINE.items():
        yield from ("--engine-arg", f"{key}={value}")
    yield from ("--decode-engine-arg", f"max-num-seqs={DECODE_SEATS}")
    # A worker is given two batches ahead; long ones would only move the queue from the router to there.
    yield from ("--prefill-engine-arg", "max-num-batched-tokens=1024")
    yield from ("--prefill", str(tiers.begin), "--decode", str(tiers.begin))
    if autoscales:
        yield "--autoscale"
        for tier in ("prefill", "decode"):
            yield from _tier_flags(tier, tiers)


def _tier_flags(tier: str, tiers: Tiers) -> Iterator[str]:
    scaling = {
        "replicas-max": tiers.most,
        "spares": tiers.spares,
        "target-wait-ms": 200.0 * SLOWER,
        "cold-start-ms": 8_000.0 * SLOWER,
        "rate-window-ms": 2_000.0 * SLOWER,
        "down-cooldown-ms": 30_000.0 * SLOWER,
        "down-interval-ms": 5_000.0 * SLOWER,
    }
    for name, value in scaling.items():
        yield from (f"--{tier}-{name}", str(value))


ENVIRONMENT = {
    "PDMESH_ROUTER_SCALING_INTERVAL_MS": str(int(500 * SLOWER)),
    "PDMESH_ROUTER_QUEUE_WAIT_MS_MAX": str(int(10_000 * SLOWER)),
    "PDMESH_ROUTER_REBALANCE": "false",
    "PDMESH_ROUTER_CANARY_INTERVAL_MS": "0",
}
