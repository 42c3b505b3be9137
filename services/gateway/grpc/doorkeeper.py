"""Who may call, decided before a call's message is read."""

from collections.abc import Mapping

from services.common.clock import Clock
from services.common.errors import MeshError, NotAllowed
from services.gateway.call.parts import Authenticator, Quotas
from services.gateway.grpc.log_line import LogLine
from services.gateway.metrics import Metrics

_HEALTH, _REFLECTION = "/grpc.health.v1.", "/grpc.reflection."


class Doorkeeper:
    """Knows callers by their metadata, as the REST API does by headers."""

    def __init__(self, authenticator: Authenticator, quotas: Quotas, metrics: Metrics, clock: Clock) -> None:
        self._authenticator = authenticator
        self._quotas = quotas
        self._metrics = metrics
        self._clock = clock

    def check(self, method: str, metadata: Mapping[str, str]) -> None:
        """Raise `Unauthenticated`, `NotAllowed` or `QuotaExceeded` for a call that is not to be read."""
        if method.startswith(_HEALTH):  # load balancers have no credential
            return
        try:
            self._check(method, metadata)
        except MeshError as error:
            line = LogLine(method, self._clock.now_ms(), error.http_status)
            line.failed(error)
            line.write(self._metrics, self._clock)
            raise

    def _check(self, method: str, metadata: Mapping[str, str]) -> None:
        is_reflection = method.startswith(_REFLECTION)
        if is_reflection and self._authenticator.shows_internals_to_all:
            return
        caller = self._authenticator.identify(metadata)
        if is_reflection and not caller.sees_internals:
            raise NotAllowed("reflection is not for you: --internals-for says who may use it")
        if not (is_reflection or method.endswith("/ListModels")):
            self._quotas.check(caller)
