"""Which handler answers which method and path."""

from collections.abc import Callable, Coroutine
from typing import Any

from services.common.errors import MethodNotAllowed, RouteNotFound
from services.gateway.http.exchange import Exchange
from services.gateway.http.message import HttpRequest

Handler = Callable[[Exchange], Coroutine[Any, Any, None] | None]
"""Answers an exchange: at once, from callbacks later, or by a coroutine that the server runs."""


class Routes:
    """A routing table, itself a handler. GET answers HEAD too."""

    def __init__(self) -> None:
        self._exact: dict[str, dict[str, Handler]] = {}
        self._prefixes: dict[str, dict[str, Handler]] = {}

    def add(self, method: str, path: str, handler: Handler) -> None:
        """Add a route; a path that ends in `*` takes everything below it."""
        table, key = (self._prefixes, path[:-1]) if path.endswith("*") else (self._exact, path)
        methods = table.setdefault(key, {})
        methods[method] = handler
        if method == "GET":
            methods["HEAD"] = handler

    def __call__(self, exchange: Exchange) -> Coroutine[Any, Any, None] | None:
        """Call the route's handler; raises `RouteNotFound` or `MethodNotAllowed`."""
        try:
            handler = self.find(exchange.request)
        except MethodNotAllowed:
            allowed = ", ".join(sorted(self._methods(exchange.request.path) or ()))
            exchange.headers = (*exchange.headers, ("allow", allowed))
            raise
        return handler(exchange)

    def find(self, request: HttpRequest) -> Handler:
        """The handler of a request's path and method; raises `RouteNotFound` or `MethodNotAllowed`."""
        methods = self._methods(request.path)
        if methods is None:
            raise RouteNotFound(f"no such URL: {request.method} {request.path[:200]}")
        handler = methods.get(request.method)
        if handler is None:
            allowed = ", ".join(sorted(methods))
            raise MethodNotAllowed(f"{request.path[:200]} takes {allowed}, not {request.method}")
        return handler

    def listed(self) -> set[tuple[str, str]]:
        """Method and path of every route; without the HEAD that GET brings."""
        tables = [*self._exact.items(), *((key + "*", value) for key, value in self._prefixes.items())]
        return {(method, path) for path, methods in tables for method in methods if method != "HEAD"}

    def pattern(self, path: str) -> str:
        """The route that a path falls under, for metric labels; empty for none."""
        if path in self._exact:
            return path
        return next((prefix + "*" for prefix in self._prefixes if path.startswith(prefix)), "")

    def _methods(self, path: str) -> dict[str, Handler] | None:
        return self._exact.get(path) or self._below_prefix(path)

    def _below_prefix(self, path: str) -> dict[str, Handler] | None:
        return next((methods for prefix, methods in self._prefixes.items() if path.startswith(prefix)), None)
