"""The handoff's ticket: what a decode worker needs to pull an offered KV."""

from services.common.domain.record import record


@record
class HandoffTicket:
    """Permission to pull one KV cache, once, before it expires."""

    handoff_id: str
    prefill_worker: str
    connector_params: bytes
    """The connector's own parameters, JSON; only engine adapters read them."""
    kv_tokens: int
    """Tokens whose KV is offered."""
    expires_in_ms: int
    """The pull must have begun within this time of receiving the ticket."""
