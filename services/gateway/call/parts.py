"""What the pipeline asks of the gateway's other parts, and the parts of a gateway that has none of them."""

from collections.abc import Coroutine, Mapping
from typing import Any, Protocol

from services.common.domain.record import record
from services.common.errors import InvalidField, ModelNotFound
from services.gateway.call.call import Call
from services.gateway.call.writers.interface import Header
from services.gateway.models.rendering import Renderer
from services.gateway.tenants import ANONYMOUS, Caller


class Authenticator(Protocol):
    """Knows callers by their credentials."""

    @property
    def shows_internals_to_all(self) -> bool:
        """Whether what is inside the mesh is shown to who has no credential, too."""

    def identify(self, headers: Mapping[str, str]) -> Caller:
        """The caller of a request with these headers (names in lower case).

        Raises `Unauthenticated` or `NotAllowed`.
        """


class Reservation(Protocol):
    """Quota that a call holds while it runs."""

    @property
    def headers(self) -> tuple[Header, ...]:
        """`x-ratelimit-*`, for the answer's head."""

    def settle(self, tokens_used: int, cost_nano: int = 0) -> None:
        """Give back the tokens and the money that were not used; the request itself counts. Only the first
        call counts.
        """


class Quotas(Protocol):
    """Limits what tenants use."""

    def reserve(self, caller: Caller, tokens: int, cost_nano: int = 0) -> Reservation:
        """Take tokens, and the most that the call may cost, from the caller's quota.

        Costs are billionths of the currency. Raises `QuotaExceeded` or `BudgetSpent`.
        """

    def check(self, caller: Caller) -> None:
        """Raise `QuotaExceeded` where it is known that the caller may send no request now."""

    def count(self, caller: Caller) -> None:
        """Count a request that is over and took nothing of the quota: it was read, and perhaps rendered, all
        the same, or answered from what is kept."""

    def borrow(self, caller: Caller, tokens: int, cost_nano: int = 0) -> Coroutine[Any, Any, None] | None:
        """What is to be awaited before `reserve`; None where it can decide at once."""

    def learn(self, caller: Caller) -> Coroutine[Any, Any, None] | None:
        """What is to be awaited before `affordable_nano`; None where it is known."""

    def affordable_nano(self, caller: Caller) -> int | None:
        """What a call of this caller's may cost at present; None is no limit."""


async def reserve_request(quotas: Quotas, caller: Caller) -> None:
    """Take one request of the quota for work that generates nothing; raises as `Quotas.reserve` does."""
    borrowing = quotas.borrow(caller, 0)
    if borrowing is not None:
        await borrowing
    quotas.reserve(caller, 0).settle(0)


@record
class Use:
    """What one call used, for metering."""

    request_id: str
    tenant: str
    model: str
    """Under which name it is booked: the model's, or its adapter's as callers ask for it."""
    prompt_tokens: int
    cached_tokens: int
    """Of the prompt tokens."""
    generated_tokens: int
    kv_seconds: float
    """Tokens held in KV caches, times the seconds that they were held."""
    base_model: str = ""
    """Whose price holds where `model` has none; empty where nobody's does."""


class Meter(Protocol):
    """Books what tenants use."""

    def record(self, use: Use) -> int:
        """Book one call's use, and return its cost; does not wait for anything.

        Costs are billionths of the currency.
        """

    def most_nano(self, model: str, base_model: str, prompt_tokens: int, generated_tokens: int) -> int:
        """The most that so many tokens may cost."""

    def tokens_for(self, model: str, base_model: str, nano: int) -> int | None:
        """How many generated tokens so much money buys; None where they cost nothing."""


@record
class Route:
    """Which model answers a call."""

    model: str
    """The name that the router knows."""
    served_name: str
    """The name that the answer shows."""
    lora: str = ""
    """Adapter to generate with."""
    adapter_name: str = ""
    """How callers ask for the adapter, which may be another name than its own; empty without one."""
    reason: str = ""
    """Why this model; empty where the caller named it."""

    @property
    def booked_name(self) -> str:
        """Under which name its use is booked."""
        return self.adapter_name or self.model

    @property
    def headers(self) -> tuple[Header, ...]:
        """For the answer's head."""
        return (("x-pdmesh-model-reason", self.reason),) if self.reason else ()


class ModelRoutes(Protocol):
    """Chooses models by the names that callers use."""

    def resolve(self, call: Call) -> Route:
        """Where a call goes; raises `ModelNotFound` for a name that its caller may not use."""


class Retriever(Protocol):
    """Adds what it finds to a call's prompt."""

    def augment(self, call: Call, renderer: Renderer) -> Coroutine[Any, Any, Call] | None:
        """The call with what was found; `None` for a call that does not ask. Raises `InvalidField`."""


class Everybody:
    """Everybody is anonymous."""

    shows_internals_to_all = True

    def identify(self, headers: Mapping[str, str]) -> Caller:
        """The anonymous caller."""
        return ANONYMOUS


class Unlimited:
    """No quota; its own reservation."""

    headers: tuple[Header, ...] = ()

    def reserve(self, caller: Caller, tokens: int, cost_nano: int = 0) -> "Unlimited":
        """A reservation of nothing."""
        return self

    def check(self, caller: Caller) -> None:
        """Everybody may send requests."""

    def count(self, caller: Caller) -> None:
        """Nothing is counted."""

    def borrow(self, caller: Caller, tokens: int, cost_nano: int = 0) -> None:
        """Nothing to wait for."""

    def learn(self, caller: Caller) -> None:
        """Nothing to wait for."""

    def affordable_nano(self, caller: Caller) -> None:
        """There is no limit."""

    def settle(self, tokens_used: int, cost_nano: int = 0) -> None:
        """Nothing to give back."""


class Unmetered:
    """Nothing is booked."""

    def record(self, use: Use) -> int:
        """Forget it; it costs nothing."""
        return 0

    def most_nano(self, model: str, base_model: str, prompt_tokens: int, generated_tokens: int) -> int:
        """Nothing."""
        return 0

    def tokens_for(self, model: str, base_model: str, nano: int) -> None:
        """Any number."""


class ByName:
    """The model is the one that the caller names."""

    def resolve(self, call: Call) -> Route:
        """The name itself."""
        name, allowed = call.generation.model, call.caller.models
        if allowed is not None and name not in allowed:
            raise ModelNotFound(f"The model {name[:200]!r} does not exist", field="model")
        return Route(model=name, served_name=name)


class WithoutRetrieval:
    """Nothing is looked up."""

    def augment(self, call: Call, renderer: Renderer) -> None:
        """No call is changed; raises `InvalidField` for one that asks."""
        if call.generation.retrieval is not None:
            raise InvalidField("retrieval: this gateway has no retriever", field="retrieval")

    async def close(self) -> None:
        """Nothing to close."""
