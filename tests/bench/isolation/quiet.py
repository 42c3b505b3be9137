"""Whether others used the machine: a study of two cores is spoilt by a third party on one of them."""

import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench.peers.tree import tree_cpu_s

IDLE_COLUMNS = (3, 4)
"""Of the first line of /proc/stat: idle, and idle while a disk works."""


@dataclass(frozen=True)
class Moment:
    """CPU seconds so far, and when."""

    at_s: float
    all_s: float
    own_s: float

    @classmethod
    def now(cls) -> "Moment":
        """Of the machine, and of this process with all that it has started."""
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        own_s = tree_cpu_s(os.getpid()) + ended.ru_utime + ended.ru_stime
        return cls(time.monotonic(), busy_s(Path("/proc/stat").read_text()), own_s)


def busy_s(stat: str) -> float:
    """CPU seconds of all cores that were not idle, those that the host took away included."""
    ticks = [int(word) for word in stat.splitlines()[0].split()[1:9]]
    return sum(n for i, n in enumerate(ticks) if i not in IDLE_COLUMNS) / os.sysconf("SC_CLK_TCK")


def others_share(before: Moment, after: Moment, cores: int) -> float:
    """The part of the machine that others used between two moments, 0 to 1."""
    others_s = (after.all_s - before.all_s) - (after.own_s - before.own_s)
    return max(0.0, others_s) / ((after.at_s - before.at_s) * cores)
