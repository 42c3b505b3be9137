"""Asks the router once a second how its tiers are."""

import asyncio
import contextlib
from collections.abc import Callable
from time import time
from typing import Any

from services.cli.operator.client import OperatorClient
from services.common.credentials import Security
from services.common.domain import Role
from services.common.errors import MeshError

INTERVAL_S = 1.0


async def watch(router: str, security: Security, is_over: Callable[[], bool]) -> list[dict[str, Any]]:
    """One entry per moment and tier, until it is over."""
    seen: list[dict[str, Any]] = []
    async with OperatorClient(router, 2_000, security) as client:
        while not is_over():
            with contextlib.suppress(MeshError):
                fleet, scaling = await client.fleet(), await client.scaling()
                queued = {tier.role: tier for tier in fleet.tiers}
                for tier in scaling.tiers:
                    seen.append(
                        {
                            "at_s": time(),
                            "tier": Role(tier.role).name.lower(),
                            "desired": tier.desired_workers,
                            "serving": tier.serving_workers,
                            "idle": tier.idle_workers,
                            "needed": round(tier.needed_workers, 2),
                            "queued_requests": queued[tier.role].queued_requests,
                            "queued_tokens": queued[tier.role].queued_tokens,
                        }
                    )
            await asyncio.sleep(INTERVAL_S)
    return seen
