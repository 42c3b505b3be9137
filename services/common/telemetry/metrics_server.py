"""The port that Prometheus scrapes."""

import socket
import threading
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler

from prometheus_client.exposition import ThreadingWSGIServer

from services.common.descriptors import is_high

SILENCE_S_MAX = 10.0
"""A connection that says nothing for so long is closed."""
SCRAPES_MAX = 32
"""Connections at once; more are closed without an answer."""


class MetricsServer(ThreadingWSGIServer):
    """A thread for each connection, and few of both: they would be this process's descriptors."""

    def __init__(self, address: tuple[str, int], handler: type[WSGIRequestHandler]) -> None:
        """Listens; raises OSError."""
        self._seats = threading.BoundedSemaphore(SCRAPES_MAX)
        self.address_family = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0][0]
        super().__init__(address, handler)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there is room for one more connection."""
        return not is_high(request.fileno()) and self._seats.acquire(blocking=False)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own; raises RuntimeError when the system gives none."""
        try:
            super().process_request(request, client_address)
        except RuntimeError:
            self._seats.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._seats.release()


class MetricsHandler(WSGIRequestHandler):
    """Logs nothing, and waits for no client for ever."""

    timeout = SILENCE_S_MAX

    def log_message(self, *_: Any) -> None:
        """See the class."""


def address_family(host: str, port: int) -> socket.AddressFamily:
    """Of the address on which to listen; raises OSError for one that is none."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
