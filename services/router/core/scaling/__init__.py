"""Scaling: how many workers each tier of each pool should have, and which ones to call, set aside and drain.

Pure like the core around it: the same code decides in production, under simulation and for KEDA.

demand      running totals of what arrives, is placed and ends
observe     a tier's signal at one moment: workers, queue, work under way, totals
meter       from signal to signal: arrivals and their trend, a worker's pace, time in a seat
needs       reasons for workers, each by itself; the largest counts
damper      up at once by bounded steps, down only to what the whole cooldown did not need
cold_starts how long a worker takes to come
tier        the above for one tier: a `Decision`
steward     makes the fleet what was decided: recall, activate, set aside, drain
rebalance   flips a role where one tier starves and the other idles
reports     what routers that share the fleet tell each other
peers       the others' part of the work, and which of them decides
scaling     all pools, once per interval
rules, cron what it can be told
"""

from services.router.core.scaling.rules import Floor, ScalingConfig, TierRules
from services.router.core.scaling.tier import Decision, TierScaler

__all__ = ["Decision", "Floor", "ScalingConfig", "TierRules", "TierScaler"]
