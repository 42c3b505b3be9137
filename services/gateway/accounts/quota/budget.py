"""One limit of one tenant at this gateway: leased from the store, or this gateway's own while it is alone."""

from services.gateway.accounts.quota.bucket import Bucket
from services.gateway.accounts.quota.pool import Pool


class Budget:
    """Tokens or requests a minute."""

    __slots__ = ("_bucket", "pool")

    def __init__(self, limit: int, share: float | None, now_ms: float) -> None:
        """`share` is this gateway's part of the limit while it is alone, and None beside a store."""
        self.pool = Pool(limit, now_ms)
        self._bucket = None if share is None else Bucket(limit, share, now_ms)

    @property
    def limit(self) -> int:
        """A minute's worth, and the most that can come at once."""
        return self.pool.limit

    def has(self, amount: float, now_ms: float) -> bool:
        """Whether so much can be given here and now."""
        if self._bucket is None:
            return self.pool.has(amount)
        return self._bucket.wait_ms(amount, now_ms) == 0

    def wait_ms(self, amount: float, now_ms: float) -> float:
        """How long until so much can be given, by what is known: 0 for at once, infinite for never."""
        return (self._bucket or self.pool).wait_ms(amount, now_ms)

    def take(self, amount: float) -> None:
        """Give so much away."""
        (self._bucket or self.pool).take(amount)

    def give_back(self, amount: float) -> None:
        """Take back what was not used; a negative amount was used beyond what was given."""
        (self._bucket or self.pool).give_back(amount)

    def remaining(self, now_ms: float) -> int:
        """What is left of the limit, by what is known here."""
        return (self._bucket or self.pool).remaining(now_ms)

    def go_alone(self, share: float, now_ms: float) -> None:
        """Go on without the store, from this gateway's part of what it knows."""
        level = self.pool.level_alone(share, now_ms)
        self._bucket = Bucket(self.limit, share, now_ms, level)

    def come_back(self, now_ms: float) -> None:
        """Go on with the store."""
        if self._bucket is not None:
            self.pool.come_back(self._bucket.level(now_ms), self._bucket.share, now_ms)
            self._bucket = None
