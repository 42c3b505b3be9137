"""What a call, and a whole client, can be told beside the request itself."""

from dataclasses import dataclass

from pdmesh.inference.v1 import inference_pb2
from services.common.domain import ServiceClass
from services.common.rpc.convert import wire_enum


@dataclass(frozen=True, slots=True)
class CallOptions:
    """One call's."""

    request_id: str = ""
    """Names it in logs and receipts; made up by the mesh when empty."""
    idempotency_key: str = ""
    """A second call with the same key and request gets the first one's answer."""
    session_key: str = ""
    """Names the conversation: its next turn may go where the last one's KV cache is."""
    service_class: ServiceClass | None = None
    priority: int = 0
    """Within the class; lower goes first."""
    strict_disaggregation: bool = False
    """End in an error rather than take the local path."""

    def to_wire(self) -> inference_pb2.CallOptions:
        """The message on the wire."""
        return inference_pb2.CallOptions(
            request_id=self.request_id,
            idempotency_key=self.idempotency_key,
            session_key=self.session_key,
            service_class=wire_enum(self.service_class or 0),
            priority=self.priority,
            strict_disaggregation=self.strict_disaggregation,
        )


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a call is tried again. A mesh that says when to come again is not asked before that."""

    attempts_max: int = 8
    """Attempts without a token between them; 1 never tries again. These outlast a gateway's restart."""
    backoff_ms: float = 50.0
    """Pause before the second attempt where the mesh names none; doubled each time, jittered."""
    backoff_ms_max: float = 5_000.0
    retry_after_ms_max: float = 30_000.0
    """A mesh that asks for more patience than this gets its refusal raised instead."""
    budget_max: float = 10.0
    """Retries that all calls of a client may have in hand together; a whole answer gives some back."""
    budget_per_success: float = 0.1
