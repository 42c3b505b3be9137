"""Answers that several gateways share while they are being written, in Redis streams.

Three keys for each name: who is writing (a hash, alive only while its writer says so), what it wrote (a
stream of its own for each run, so that two runs never mix), and whether another gateway reads along. All
have a time to live. One round trip per batch of answers.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

from services.common.credentials.seal import Seal
from services.common.store.client import RedisClient
from services.common.store.journal import (
    ENTRIES_MAX,
    WRITER_TTL_MS,
    Addition,
    Page,
    Progress,
    Run,
    Standing,
)

TIMEOUT_S = 1.0
"""For each command; a request waits for one at most before it goes on without."""
CONNECTIONS_MAX = 16
WATCHED_TTL_MS = 2_000
BROKEN_TTL_MS = 30_000
"""How long the stream of a dead or failed run stays for those who are reading it."""
PAGE_ENTRIES_MAX = 256
OPEN = Seal(())
Entry = tuple[bytes, Mapping[bytes, bytes]]

_CLAIM = """
local found = redis.call('HMGET', KEYS[1], 'digest', 'run', 'progress', 'beat')
if found[2] then return found end
redis.call('HSET', KEYS[1],
  'digest', ARGV[1], 'run', ARGV[2], 'progress', 'running', 'beat', 0, 'size', 0)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return false
"""

_PUBLISH = """
local owner = redis.call('HGET', KEYS[1], 'run')
if owner ~= ARGV[1] then return {owner and 'other' or 'none', 0, 0} end
local ends = ARGV[4]
local size = tonumber(redis.call('HGET', KEYS[1], 'size'))
if ends ~= 'large' and size ~= tonumber(ARGV[9]) then
  if redis.call('HGET', KEYS[1], 'progress') == 'running' then redis.call('PEXPIRE', KEYS[1], ARGV[5]) end
  return {'mine', redis.call('EXISTS', KEYS[3]), size}
end
if ends ~= 'large' and (ARGV[2] ~= '' or ARGV[3] ~= '' or ends ~= 'running') then
  size = redis.call('HINCRBY', KEYS[1], 'size', ARGV[10])
  redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[8], '*', 'head', ARGV[2], 'body', ARGV[3], 'end', ends)
end
if ends == 'running' then
  redis.call('HINCRBY', KEYS[1], 'beat', 1)
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
  redis.call('PEXPIRE', KEYS[2], ARGV[7])
elseif ends == 'whole' then
  redis.call('HSET', KEYS[1], 'progress', ends)
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
  redis.call('PEXPIRE', KEYS[2], ARGV[6])
elseif ends == 'large' then
  redis.call('HSET', KEYS[1], 'progress', ends)
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
  redis.call('DEL', KEYS[2])
else
  redis.call('DEL', KEYS[1])
  redis.call('PEXPIRE', KEYS[2], ARGV[7])
end
return {'mine', redis.call('EXISTS', KEYS[3]), size}
"""

_FORGET = """
if redis.call('HGET', KEYS[1], 'run') == ARGV[1] then redis.call('DEL', KEYS[1], KEYS[2]) end
return 0
"""


class RedisJournal:
    """A `Journal`."""

    def __init__(self, url: str, *, kept_ttl_ms: int, seal: Seal = OPEN) -> None:
        """Raises `StoreUnavailable` for an address that is none; connects at the first command.

        What is answered passes through `seal` on its way to Redis and back.
        """
        self._seal = seal
        self._client = RedisClient(url, timeout_s=TIMEOUT_S, connections_max=CONNECTIONS_MAX)
        self._kept_ttl_ms = kept_ttl_ms
        register = self._client.redis.register_script
        self._claim = register(_CLAIM)
        self._publish = register(_PUBLISH)
        self._forget = register(_FORGET)

    async def claim(self, name: str, digest: str, run: str) -> Run | None:
        """See `Journal`."""
        async with self._client.commands():
            found = await self._claim([_writer(name)], [digest, run, WRITER_TTL_MS])
            return _run(found) if found else None

    async def look(self, name: str) -> Run | None:
        """See `Journal`."""
        async with self._client.commands() as redis, redis.pipeline(transaction=False) as pipe:
            pipe.hmget(_writer(name), ["digest", "run", "progress", "beat"])
            pipe.set(_watched(name), b"1", px=WATCHED_TTL_MS)
            found = (await pipe.execute())[0]
            return _run(found) if found[1] else None

    async def publish(self, additions: Sequence[Addition]) -> list[Standing]:
        """See `Journal`."""
        async with self._client.commands() as redis:
            if self._client.is_cluster:  # whose pipelines take no scripts
                answers = await asyncio.gather(*(self._add(each) for each in additions))
            else:
                async with redis.pipeline(transaction=False) as pipe:
                    for each in additions:
                        await self._add(each, pipe)
                    answers = await pipe.execute()
            return [
                Standing(owner == b"mine", owner == b"other", bool(watched), int(size))
                for owner, watched, size in answers
            ]

    async def _add(self, each: Addition, client: Any = None) -> Any:
        keys = [_writer(each.name), _log(each.name, each.run), _watched(each.name)]
        bounds = [WRITER_TTL_MS, self._kept_ttl_ms, BROKEN_TTL_MS, ENTRIES_MAX]
        new: list[str | bytes | int] = [
            each.run,
            self._seal.close(each.head, _context(each.name, each.run, "head")),
            self._seal.close(each.body, _context(each.name, each.run, "body")),
            each.progress,
            *bounds,
            each.offset_bytes,
            len(each.body),
        ]
        return await self._publish(keys, new, client=client)

    async def read(self, name: str, run: str, position: str) -> Page:
        """See `Journal`."""
        start = f"({position}" if position else "-"
        async with self._client.commands() as redis:
            found = await redis.xrange(_log(name, run), min=start, count=PAGE_ENTRIES_MAX)
            return self._page(name, run, cast(list[Entry], found), position)

    def _page(self, name: str, run: str, entries: Sequence[Entry], position: str) -> Page:
        fields = [entry for _, entry in entries]
        opens, of_head, of_body = self._seal.open, _context(name, run, "head"), _context(name, run, "body")
        return Page(
            position=entries[-1][0].decode() if entries else position,
            head=next((opens(entry[b"head"], of_head) for entry in fields if entry[b"head"]), b""),
            body=b"".join(opens(entry[b"body"], of_body) for entry in fields),
            progress=Progress(fields[-1][b"end"].decode()) if fields else Progress.RUNNING,
            is_last=len(entries) < PAGE_ENTRIES_MAX,
        )

    async def forget(self, name: str, run: str) -> None:
        """See `Journal`."""
        async with self._client.commands():
            await self._forget([_writer(name), _log(name, run)], [run])

    async def close(self) -> None:
        """See `Journal`."""
        await self._client.close()


def _run(found: Sequence[Any]) -> Run:
    digest, run, progress, beat = (field.decode() for field in found)
    return Run(digest, run, Progress(progress), int(beat))


def _context(name: str, run: str, part: str) -> bytes:
    """A part opens only where it belongs."""
    return f"{name}/{run}/{part}".encode()


def _writer(name: str) -> str:
    """Keys of one name share a slot of a cluster."""
    return f"pdmesh:answer:{{{name}}}"


def _log(name: str, run: str) -> str:
    return f"{_writer(name)}:log:{run}"


def _watched(name: str) -> str:
    return f"{_writer(name)}:watched"
