"""CPU time and memory of a process and of all that it started: workers count, as threads do."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tests.mesh.harness import cpu_s, rss_bytes


def tree(pid: int, proc: Path = Path("/proc")) -> list[int]:
    """The process and its descendants; a child is noted at the thread that started it."""
    found = [pid]
    with suppress(FileNotFoundError, ProcessLookupError):
        for thread in (proc / str(pid) / "task").iterdir():
            for child in (thread / "children").read_text().split():
                found += tree(int(child), proc)
    return found


def tree_cpu_s(pid: int) -> float:
    """CPU seconds of all of them, user and system."""
    return sum(cpu_s(one) for one in tree(pid))


def tree_rss_mib(pid: int) -> float:
    """Resident memory of all of them; what they share counts once for each."""
    return sum(rss_bytes(one) for one in tree(pid)) / 2**20


def spent(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """CPU seconds by name between two looks."""
    return {name: after[name] - before[name] for name in before}
