"""A line through measurements, of which the newest count most."""

RELATIVE_SPREAD_MIN = 1e-6


class DecayedFit:
    """Least squares for y = fixed + per_unit * x, each sample's weight fading as newer ones come.

    The sums are kept relative to the mean and updated with each sample (West, 1979), so that large x
    lose no digits.
    """

    def __init__(self, memory_samples: int) -> None:
        self._keep = 1.0 - 1.0 / max(2, memory_samples)
        self._weight = self._mean_x = self._mean_y = self._xx = self._xy = 0.0
        self.samples = 0

    def add(self, x: float, y: float) -> None:
        """Take a measurement in."""
        self.samples += 1
        self._weight = self._weight * self._keep + 1.0
        step_x, step_y = x - self._mean_x, y - self._mean_y
        self._mean_x += step_x / self._weight
        self._mean_y += step_y / self._weight
        self._xx = self._xx * self._keep + step_x * (x - self._mean_x)
        self._xy = self._xy * self._keep + step_x * (y - self._mean_y)

    @property
    def per_unit(self) -> float:
        """The slope, not negative; y over x while all x are alike."""
        if self._xx <= RELATIVE_SPREAD_MIN * self._weight * self._mean_x**2:
            return self._mean_y / self._mean_x if self._mean_x else 0.0
        return max(0.0, self._xy / self._xx)

    @property
    def fixed(self) -> float:
        """y at x = 0, not negative."""
        return max(0.0, self._mean_y - self.per_unit * self._mean_x)
