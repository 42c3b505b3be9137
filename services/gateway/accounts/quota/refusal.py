"""A refusal that still tells what is left."""

from services.common.errors import QuotaExceeded


class OverLimit(QuotaExceeded):
    """`QuotaExceeded`, with the headers that an answer would have had."""

    def __init__(
        self, message: str, *, kind: str, retry_after_ms: int | None, headers: tuple[tuple[str, str], ...]
    ) -> None:
        super().__init__(message, retry_after_ms=retry_after_ms)
        self.kind = kind
        """What ran out, in OpenAI's words for the error's `type`: `tokens` or `requests`."""
        self.headers = headers
        """`x-ratelimit-*`."""
