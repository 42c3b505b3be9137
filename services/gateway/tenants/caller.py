"""Who sends a request, and what that caller may do."""

from dataclasses import dataclass

from services.common.domain import ServiceClass

TAKEN, PLAIN = CONTROL_TOKENS = ("taken", "plain")
"""What a control token is that a caller writes into a message: the token, or its letters."""


@dataclass(frozen=True, slots=True)
class MoneyBudget:
    """What one tenant's requests may cost, in billionths of the currency of prices; `None` is no limit."""

    day_nano: int | None = None
    """In a day, UTC."""
    month_nano: int | None = None
    """In a month, UTC."""
    warning_share: float = 0.8
    """Share of either at which the tenant is warned."""


NO_BUDGET = MoneyBudget()
"""The one object that says so."""


@dataclass(frozen=True, slots=True)
class TenantQuota:
    """What one tenant may use; `None` is no limit."""

    tokens_per_minute: int | None = None
    """Prompt + generated tokens."""
    requests_per_minute: int | None = None
    concurrent: int | None = None
    """Requests in flight at once."""
    budget: MoneyBudget = NO_BUDGET


UNLIMITED = TenantQuota()


@dataclass(frozen=True, slots=True)
class Caller:
    """One tenant as the gateway's parts see it: hashable, and the same object for each of its requests."""

    tenant: str = ""
    """The tenant's name; "" is anonymous."""
    service_class: ServiceClass = ServiceClass.STANDARD
    weight: float = 1.0
    """Share of the pools beside other tenants of the same class."""
    cache_salt: str = ""
    """Separates prefix caches: callers of one salt share cached prompts, all others do not."""
    quota: TenantQuota = UNLIMITED
    max_tokens: int | None = None
    """The most tokens that one choice of an answer may have; `None` is the model's own limit."""
    models: frozenset[str] | None = None
    """Names of models that the tenant may ask for; `None` is all."""
    control_tokens: str = ""
    """What a control token in a message is, "taken" or "plain"; "" is what the gateway's settings say."""
    is_admin: bool = False
    """May read and change what belongs to other tenants: `/admin/...`."""
    sees_internals: bool = True
    """May see receipts, names of workers, and what else is inside the mesh."""

    def may_use(self, model: str) -> bool:
        """Whether the tenant may ask for a model of that name."""
        return self.models is None or model in self.models

    @property
    def is_anonymous(self) -> bool:
        """True for a caller without a tenant."""
        return not self.tenant


ANONYMOUS = Caller()
"""The caller of a gateway that has no tenants."""
