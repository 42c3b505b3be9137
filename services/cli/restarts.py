"""How often a dead process is started again."""

from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class RestartPolicy:
    """Waits longer after each death in a row; past `deaths_max` within `window_ms` it has died too often."""

    deaths_max: int = 5
    window_ms: float = 60_000.0
    delay_ms_min: float = 200.0
    delay_ms_max: float = 5_000.0
    given_up_delay_ms: float = 30_000.0
    """Between attempts with one that has died too often, while the mesh can serve without it."""
    _deaths_ms: deque[float] = field(default_factory=deque)

    def delay_ms(self, now_ms: float) -> float | None:
        """Note a death; how long to wait before the next start, or None when it has died too often."""
        self._deaths_ms.append(now_ms)
        while self._deaths_ms[0] <= now_ms - self.window_ms:
            self._deaths_ms.popleft()
        deaths = len(self._deaths_ms)
        if deaths > self.deaths_max:
            return None
        return min(self.delay_ms_max, self.delay_ms_min * 2.0 ** (deaths - 1))
