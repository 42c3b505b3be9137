"""The key set of a running gateway: from a file or a URL, fetched where nobody waits for it."""

import asyncio
import contextlib
import http.client
import logging
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from services.common.clock import Clock
from services.common.errors import BadSetting, MeshError
from services.common.limits import DEFAULTS
from services.gateway.tenants.key_set import KeySet, read_key_set
from services.gateway.tenants.metrics import Metrics

REFRESH_S = 300.0
"""How often the keys are fetched without being asked for."""
ASKED_INTERVAL_MS = 10_000.0
"""Unknown key ids cause a fetch this often at most, whoever sends them."""
RETRY_S = 10.0
TIMEOUT_S = 5.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")

_log = logging.getLogger("pdmesh.tenants")


class LiveKeys:
    """`current` is what has been had last; an answer that is late or broken changes nothing."""

    def __init__(self, source: str, metrics: Metrics, clock: Clock) -> None:
        """`source` is a path or a URL; raises `BadSetting` for a URL whose answer anybody could forge."""
        self.current = KeySet()
        self.version = 0
        """Changes with `current`."""
        self._source, self._metrics, self._clock = source, metrics, clock
        self._is_url = "://" in source
        self._document = b""
        self._asked = asyncio.Event()
        self._fetched_ms = -ASKED_INTERVAL_MS
        self._is_fetching = False
        if self._is_url:
            _require_trustworthy(source)

    async def load(self) -> None:
        """Read a file for the first time; raises `BadSetting`. A URL is left to `run`."""
        if not self._is_url:
            await self._refresh()

    def ask(self) -> bool:
        """A key id is not known: have the keys fetched, unless that has been done just now.

        Whether it is worth coming again soon: keys are being fetched.
        """
        if self._is_fetching or self._asked.is_set():
            return True
        if self._clock.now_ms() - self._fetched_ms < ASKED_INTERVAL_MS:
            return not self.current.keys
        self._asked.set()
        return True

    async def run(self) -> None:
        """Keep the keys fresh until cancelled."""
        pause_s = 0.0 if self._is_url else REFRESH_S
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._asked.wait()
            self._asked.clear()
            try:
                await self._refresh()
                pause_s = REFRESH_S
            except MeshError as error:
                self._metrics.key_set_failures.inc()
                _log.error("signing keys NOT fetched, older ones stay in force: %s", error.message)
                pause_s = RETRY_S

    async def _refresh(self) -> None:
        self._is_fetching, self._fetched_ms = True, self._clock.now_ms()
        try:
            document = await asyncio.to_thread(_fetch if self._is_url else _read, self._source)
            if document != self._document:
                self.current = read_key_set(document, self._source)
                self._document = document
                self.version += 1
                _log.info(
                    "signing keys read", extra={"source": self._source, "count": len(self.current.keys)}
                )
        finally:
            self._is_fetching = False


def _require_trustworthy(url: str) -> None:
    try:
        parts = urlsplit(url)
        is_fit = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    except ValueError:
        is_fit = False
    if not is_fit:
        raise BadSetting(f"--jwt-jwks: {url} is neither a file nor https:// (http:// is for loopback only)")


def _read(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return _bounded(file.read(DEFAULTS.key_set_size_bytes_max + 1), path)
    except OSError as error:
        raise BadSetting(f"--jwt-jwks: {path}: {error.strerror}") from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect could lead to plain HTTP."""

    def redirect_request(self, *_arguments: Any) -> NoReturn:
        """Refuse."""
        raise urllib.error.URLError("it redirects")


def _fetch(url: str) -> bytes:
    context = urllib.request.HTTPSHandler(context=ssl.create_default_context())
    opener = urllib.request.build_opener(context, _NoRedirect())
    try:
        with opener.open(url, timeout=TIMEOUT_S) as answer:
            return _bounded(answer.read(DEFAULTS.key_set_size_bytes_max + 1), url)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise BadSetting(f"{url}: {error}") from None


def _bounded(document: bytes, source: str) -> bytes:
    if len(document) > DEFAULTS.key_set_size_bytes_max:
        raise BadSetting(f"{source}: over {DEFAULTS.key_set_size_bytes_max} bytes")
    return document
