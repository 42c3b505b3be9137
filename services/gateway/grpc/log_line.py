"""One gRPC call's log line and metrics, as REST requests have them."""

from dataclasses import dataclass, field

from services.common.clock import Clock
from services.common.errors import MeshError
from services.gateway.call.request_log import log_request
from services.gateway.metrics import Metrics


@dataclass(slots=True)
class LogLine:
    """Collects what the line is to say; written once, at the call's end."""

    method: str
    """The whole name, `/pdmesh.inference.v1.InferenceService/Chat`."""
    received_ms: float
    status: int
    """As the REST API would have answered."""
    notes: dict[str, object] = field(default_factory=dict)

    is_counted: bool = False
    """Whether the call has been taken from its caller's requests a minute."""

    def count(self) -> None:
        """Take notice that it has been counted."""
        self.is_counted = True

    def failed(self, error: MeshError) -> None:
        """Say why there is no whole answer."""
        self.status = error.http_status
        self.notes["error"] = error

    def write(self, metrics: Metrics, clock: Clock) -> None:
        """Count and log the call."""
        took_ms = clock.now_ms() - self.received_ms
        metrics.count(self.method, self.status, took_ms)
        if isinstance(error := self.notes.get("error"), MeshError):
            metrics.count_refusal(self.method, error.reason)
        log_request("GRPC", self.method, self.status, took_ms, self.notes)
