"""Sharing this host's CPU cores among workers."""

from collections.abc import Sequence


def share_cores(cores: Sequence[int], workers: int) -> list[tuple[int, ...]]:
    """Disjoint equal shares of `cores`, one per worker; empty shares (no binding) when there are too few.

    OpenMP pools that overlap make each other wait at every barrier, which turns prefill from milliseconds
    into seconds.
    """
    each = len(cores) // workers if workers else 0
    return [tuple(cores[i * each : (i + 1) * each]) for i in range(workers)]
