"""How long an answer may be whose caller has not said."""

from collections.abc import Sequence

from services.gateway.call.generation import Generation
from services.gateway.call.parts import Meter, Route
from services.gateway.tenants import Caller


def fit_quota(max_tokens: int, generation: Generation, caller: Caller, prompt_tokens: Sequence[int]) -> int:
    """`max_tokens` of one choice, cut to what the caller's tokens a minute ever hold.

    Only where the caller left it open: then it is all that fits the model, which may be more than a small
    quota. What was asked for stays as it is, to be refused by name. `prompt_tokens` are those of each prompt.
    """
    limit = caller.quota.tokens_per_minute
    if limit is None or generation.sampling.max_tokens:
        return max_tokens
    room = (limit - sum(prompt_tokens)) // (generation.n * len(prompt_tokens))
    return min(max_tokens, room) if room > 0 else max_tokens


def fit_budget(
    max_tokens: int,
    generation: Generation,
    prompt_tokens: Sequence[int],
    route: Route,
    meter: Meter,
    affordable_nano: int | None,
) -> int:
    """The same, cut to what the caller's money buys at present; None is no limit."""
    if affordable_nano is None or generation.sampling.max_tokens:
        return max_tokens
    names = (route.booked_name, route.model)
    tokens = meter.tokens_for(*names, affordable_nano - meter.most_nano(*names, sum(prompt_tokens), 0))
    if tokens is None:
        return max_tokens
    room = tokens // (generation.n * len(prompt_tokens))
    return min(max_tokens, room) if room > 0 else max_tokens
