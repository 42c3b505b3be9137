"""Failures of background tasks, of the whole process."""

from prometheus_client import Counter

FAILURES = Counter(
    "pdmesh_background_failures", "Failures of tasks in the background, each of which begins again", ["task"]
)
