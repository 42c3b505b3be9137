"""A Lua script that Redis runs as one step."""

from collections.abc import Callable, Sequence
from hashlib import sha1
from pathlib import Path
from typing import Any, TypeVar

from redis.exceptions import NoScriptError

from services.common.store.client import RedisClient

T = TypeVar("T")


class Script:
    """One script, named by its hash so that its text travels once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._sha = sha1(text.encode(), usedforsecurity=False).hexdigest()

    @classmethod
    def beside(cls, module_file: str, name: str) -> "Script":
        """The script in a file beside a module."""
        return cls(Path(module_file).with_name(name).read_text(encoding="utf-8"))

    async def run(
        self,
        client: RedisClient,
        keys: Sequence[str],
        arguments: Sequence[str | bytes | int | float],
        read: Callable[[Any], T],
    ) -> T:
        """What `read` makes of its reply, in one round trip; in three where Redis has forgotten it.

        Never sent again after a failure: it has run once or not at all when this raises `StoreUnavailable`.
        """
        async with client.commands() as redis:
            try:
                reply = await redis.evalsha(self._sha, len(keys), *keys, *arguments)
            except NoScriptError:
                await redis.script_load(self._text)
                reply = await redis.evalsha(self._sha, len(keys), *keys, *arguments)
            return read(reply)
