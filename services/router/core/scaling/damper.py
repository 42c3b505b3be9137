"""From needs that come and go to a number of workers that seldom changes."""

from collections import deque

from services.router.core.scaling.rules import TierRules

WINDOW_PARTS = 30
"""The cooldown is remembered in so many parts, each by its largest need."""


class Damper:
    """Up at once, by bounded steps; down only to what the whole cooldown did not need, one step at a time."""

    def __init__(self, rules: TierRules, desired: int) -> None:
        self._rules = rules
        self.desired = desired
        self.changed_ms: float | None = None
        self._recent: deque[tuple[float, int]] = deque()
        """Begin of each part of the cooldown, and the most workers needed in it."""
        self._up = (float("-inf"), desired)
        self._down = (float("-inf"), desired)
        """When the last interval of steps began, and the number of workers then."""

    def settle(self, at_least: int, at_most: int, now_ms: float) -> int:
        """More workers when `at_least` is more than there should be, fewer when `at_most` has been fewer for
        the whole cooldown.
        """
        needed = self._needed_lately(at_most, now_ms)
        if at_least > self.desired:
            self._change(min(at_least, self._up_to(now_ms)), now_ms)
        elif needed < self.desired:
            self._change(max(needed, self._down_to(now_ms)), now_ms)
        return self.desired

    def follow(self, desired: int, at_most: int, now_ms: float) -> int:
        """Be what another has decided, and go on from there once it is ours to decide."""
        self._needed_lately(at_most, now_ms)
        self._change(desired, now_ms)
        return self.desired

    def bound(self, least: int, most: int, now_ms: float) -> int:
        """Obey bounds at once, whatever the steps are."""
        self._change(min(max(self.desired, least), most), now_ms)
        return self.desired

    def adopt(self, there: int, now_ms: float) -> None:
        """More workers have come than were asked for: they count as needed now, and get the cooldown."""
        if there > self.desired:
            self._needed_lately(there, now_ms)
            self._change(there, now_ms)

    def give_away(self, now_ms: float) -> None:
        """One worker has gone to another tier, cooldown or not."""
        self._change(self.desired - 1, now_ms)

    def _change(self, desired: int, now_ms: float) -> None:
        if desired != self.desired:
            self.desired, self.changed_ms = desired, now_ms

    def _needed_lately(self, needed: int, now_ms: float) -> int:
        recent, part_ms = self._recent, self._rules.down_cooldown_ms / WINDOW_PARTS
        if not recent:
            recent.append((now_ms, max(needed, self.desired)))  # what was before counts as needed until now
        if now_ms - recent[-1][0] >= part_ms:
            recent.append((now_ms, needed))
        elif needed > recent[-1][1]:
            recent[-1] = (recent[-1][0], needed)
        while len(recent) > 1 and now_ms - recent[1][0] >= self._rules.down_cooldown_ms:
            recent.popleft()
        if len(recent) > 1 and now_ms - recent[0][0] >= self._rules.down_cooldown_ms + part_ms:
            recent.popleft()
        return max(most for _, most in recent)

    def _up_to(self, now_ms: float) -> int:
        if now_ms - self._up[0] >= self._rules.up_interval_ms:
            self._up = (now_ms, self.desired)
        base = self._up[1]
        return base + max(self._rules.up_step_max, base)

    def _down_to(self, now_ms: float) -> int:
        if now_ms - self._down[0] >= self._rules.down_interval_ms:
            self._down = (now_ms, self.desired)
        return self._down[1] - self._rules.down_step_max
