"""One call as the pipeline takes it, whatever edge it came through."""

import dataclasses
from collections.abc import Callable
from dataclasses import field

from services.common.domain import ServiceClass
from services.common.domain.record import record
from services.gateway.call.generation import Generation
from services.gateway.retrieval.report import RetrievalReport
from services.gateway.tenants import ANONYMOUS, Caller
from services.gateway.tenants.cache_salt import narrowed_salt


def _ignore() -> None:
    """What `on_reserved` does where nobody counts."""


@record
class Call:
    """Who asks for what, and under which conditions. REST and gRPC both make one of these."""

    request_id: str
    generation: Generation
    received_ms: float
    """When its last byte came, by the gateway's clock."""
    caller: Caller = ANONYMOUS
    session_key: str = ""
    """Names the conversation; empty where the caller does not say."""
    deadline_ms: int | None = None
    """Milliseconds that the caller gives it; `None` is no deadline."""
    service_class: ServiceClass = ServiceClass.STANDARD
    priority: int = 0
    """Among requests of the same class: lower runs first."""
    retrieval: RetrievalReport | None = None
    """What became of looking passages up, once that is done for a call that asks."""
    notes: dict[str, object] = field(default_factory=dict)
    """What the call's log line is to say; whoever finds something out adds it."""
    on_reserved: Callable[[], None] = _ignore
    """Called once the caller's quota has given what the call needs: from then on the request counts."""

    @property
    def cache_salt(self) -> str:
        """What keeps its cached prompts apart from those of others."""
        return narrowed_salt(self.caller.cache_salt, self.generation.cache_salt)


def with_model(call: Call, only_name: Callable[[], str]) -> Call:
    """The call with a model's name: where it names none, the only one that is served."""
    if call.generation.model:
        return call
    return dataclasses.replace(call, generation=dataclasses.replace(call.generation, model=only_name()))


def class_of(caller: Caller, asked: ServiceClass | None) -> ServiceClass:
    """The class that a caller gets: what it asks for, but none better than its tenant's own.

    A gateway without tenants gives what is asked for.
    """
    if asked is None:
        return caller.service_class
    return asked if caller.is_anonymous else max(asked, caller.service_class)
