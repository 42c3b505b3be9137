"""What is written about one tenant: the keys of its table in the tenants file."""

from dataclasses import dataclass

from services.common.domain.request import TENANT_WEIGHT_MAX, TENANT_WEIGHT_MIN
from services.common.settings import group, setting
from services.gateway.tenants.caller import CONTROL_TOKENS

CLASSES = ("interactive", "standard", "batch")


@dataclass(frozen=True, slots=True)
class Allowance:
    """What tenants may do. A tier has these too, for all tenants that name it."""

    service_class: str = setting("standard", "class of its requests, best first", choices=CLASSES)
    weight: float = setting(
        1.0, "share beside others of its class", least=TENANT_WEIGHT_MIN, most=TENANT_WEIGHT_MAX
    )
    tokens_per_minute: int | None = setting(None, "prompt + generated tokens; no limit if not set", least=1)
    requests_per_minute: int | None = setting(None, "requests; no limit if not set", least=1)
    concurrent: int | None = setting(None, "requests in flight at once; no limit if not set", least=1)
    budget_per_day: float | None = setting(
        None, "cost of its requests in a day (UTC), in the currency of --price; no limit if not set", least=0
    )
    budget_per_month: float | None = setting(
        None, "cost of its requests in a month (UTC), likewise; no limit if not set", least=0
    )
    budget_warning: float = setting(
        0.8, "share of a budget from which answers and the log warn that it is spent", least=0, most=1
    )
    max_tokens: int | None = setting(None, "longest answer in tokens; requests for more get this", least=1)
    models: tuple[str, ...] = setting((), "names of models that it may ask for; all if not set")
    cache_group: str = setting(
        "", "shares cached prompts with all tenants of this group, with nobody if not set"
    )
    control_tokens: str = setting(
        "",
        "what a control token in one of its messages is: the token (taken) or its letters (plain); what the "
        "gateway's --control-tokens says if not set",
        choices=("", *CONTROL_TOKENS),
    )
    is_admin: bool = setting(False, "may use /admin, and /metrics where it is for admins")


@dataclass(frozen=True, slots=True)
class TenantEntry:
    """One tenant's table."""

    keys: tuple[str, ...] = setting((), "records of its API keys, as `pdmesh key new` prints them")
    tier: str = setting("", "tier whose values hold where this table has none; `default` if there is one")
    allowance: Allowance = group(Allowance)
