"""One caller's request as the router takes it: tokens in, tokens out."""

from array import array
from dataclasses import field
from enum import IntEnum

from services.common.domain.embedding import EmbeddingAsk
from services.common.domain.record import record
from services.common.domain.sampling import Sampling
from services.common.domain.tokens import no_tokens

TENANT_WEIGHT_MIN, TENANT_WEIGHT_MAX = 0.001, 1_000.0


class ServiceClass(IntEnum):
    """Service class, best first."""

    INTERACTIVE = 1
    STANDARD = 2
    BATCH = 3


@record
class Request:
    """What a gateway submits. Times are relative, because clocks of two hosts differ."""

    request_id: str
    model: str
    prompt: "array[int]"
    sampling: Sampling
    tenant: str = ""
    service_class: ServiceClass = ServiceClass.STANDARD
    deadline_ms: int | None = None
    """Milliseconds left when the request was submitted; `None` is no deadline."""
    delivered: "array[int]" = field(default_factory=no_tokens)
    """Tokens that the client already has, when a request is submitted again."""
    cache_salt: str = ""
    strict_disaggregation: bool = False
    """True: end in an error rather than take the local path."""
    session_key: str = ""
    """Names the conversation, where the caller says so: its next turn may go where the last one went."""
    lora: str = ""
    """LoRA adapter to generate with."""
    priority: int = 0
    """Among requests of the same class: lower runs first, within `priority_max` either way."""
    embedding: EmbeddingAsk | None = None
    """Set where a vector of the prompt is wanted. Its sampling says nothing but one token at most: a vector
    counts as one, which never comes, so that no part takes the request for finished."""
    tenant_weight: float = 1.0
    """The tenant's share beside others of its class; the router's own setting for the tenant wins."""
    resubmitted: bool = False
    """Whether a router that was lost had taken it: it is no new arrival, and goes first."""
