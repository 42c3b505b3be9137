"""A number that is looked at every so often: its mean and its most."""


class Gauge:
    """Both are zero before the first look."""

    __slots__ = ("_looks", "_total", "most")

    def __init__(self) -> None:
        self._looks, self._total = 0, 0.0
        self.most = 0.0

    def add(self, value: float) -> None:
        """What it is now."""
        self._looks += 1
        self._total += value
        self.most = max(self.most, value)

    @property
    def mean(self) -> float:
        """Over all looks."""
        return self._total / self._looks if self._looks else 0.0
