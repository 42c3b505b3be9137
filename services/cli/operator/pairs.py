"""How each prefill-decode pair is: compatible, measured, trusted."""

from pdmesh.operator.v1 import operator_pb2 as wire
from services.cli.operator.finding import Finding, note, well, wrong

Pair = wire.PairStatus


def finding_of(pair: Pair) -> Finding:
    """The most important thing about a pair."""
    name = f"{pair.prefill_worker} -> {pair.decode_worker}"
    if pair.differences:
        return wrong(
            f"{name}: cannot hand over, {'; '.join(pair.differences)}",
            "start both with the same engine settings",
        )
    if pair.refusal:
        return wrong(
            f"{name}: KV cannot be handed over, so requests take another way ({_measured(pair)})",
            pair.refusal,
        )
    if pair.canary == "differed" and pair.breaker == "open":
        return wrong(
            f"{name}: tokens after a handoff differ from tokens without, so the pair is held and requests "
            f"take another way ({_measured(pair)})",
            f"compare the two hosts and restart {pair.decode_worker} or {pair.prefill_worker}; "
            "then canaries decide, or `pdmesh forgive`",
        )
    if pair.breaker == "open":
        return wrong(
            f"{name}: suspended after failed handoffs ({_measured(pair)})",
            f"{pair.failure or f'see the log of {pair.decode_worker} for why'}; it is tried again by itself",
        )
    if pair.canary == "failed":
        return wrong(f"{name}: the last canary did not end ({_measured(pair)})", "see both workers' logs")
    return _of_sound(pair, name)


def _of_sound(pair: Pair, name: str) -> Finding:
    text = f"{name}: {_measured(pair)}"
    if pair.breaker == "half_open":
        return note(f"{text}; being tried again after failed handoffs")
    if pair.canary == "differed_once":
        return note(f"{text}; one canary differed, which another one will confirm or not")
    if pair.canary == "differed":
        return note(f"{text}; forgiven, and compared again by the next canary")
    if pair.canary == "unknown":
        return note(f"{text}; no canary yet")
    return well(text)


def _measured(pair: Pair) -> str:
    place = f"{pair.connector} at {pair.handoff_address}" if pair.handoff_address else pair.connector
    parts = [place, pair.transport, f"{pair.handoffs} handoffs, {pair.failures} failed"]
    if pair.handoff_ms:
        parts.append(f"{pair.handoff_ms:.1f} ms each")
    if pair.transfer_ms:
        parts.append(f"the pull {pair.transfer_ms:.1f} ms at {pair.transfer_gb_per_s:.2f} GB/s")
    parts.append(f"breaker {pair.breaker.replace('_', '-')}")
    if pair.canary_age_s >= 0:
        parts.append(f"canary {pair.canary.replace('_', ' ')} {pair.canary_age_s:.0f} s ago")
    return ", ".join(filter(None, parts))
