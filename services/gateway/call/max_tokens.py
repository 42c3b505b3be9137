"""The cap on answers that a tenant or its tier has.

A request for more is not refused: clients ask for far more than they need. It gets the cap, and the header
`x-pdmesh-max-tokens` says so; an answer that is cut there ends with `length` as every other.
"""

import dataclasses

from services.common.errors import InvalidField
from services.gateway.call.generation import Generation
from services.gateway.call.writers.interface import Header
from services.gateway.tenants.caller import Caller

HEADER = "x-pdmesh-max-tokens"


def capped(generation: Generation, caller: Caller) -> Generation:
    """The generation as its caller may have it; raises `InvalidField` where `min_tokens` is over the cap."""
    cap, sampling = caller.max_tokens, generation.sampling
    if cap is None:
        return generation
    if sampling.min_tokens > cap:
        raise InvalidField(
            f"min_tokens: answers of this API key have at most {cap} tokens", field="min_tokens"
        )
    return dataclasses.replace(
        generation,
        sampling=dataclasses.replace(sampling, max_tokens=min(sampling.max_tokens, cap)),
        max_tokens_default=min(generation.max_tokens_default or cap, cap),
    )


def cap_headers(generation: Generation, caller: Caller, max_tokens: int) -> tuple[Header, ...]:
    """What tells of the cap, where it is why an answer has at most `max_tokens`."""
    if max_tokens != caller.max_tokens or generation.sampling.max_tokens == max_tokens:
        return ()
    return ((HEADER, str(max_tokens)),)
