"""A small HTTP/1.1 server on bare asyncio protocols: no task and no queue per request or per write.

A handler is called with an `Exchange` (the request, and what its answer is written to). It may answer at
once, keep the exchange and answer from callbacks, or return a coroutine, which the server then owns.
"""

from services.gateway.http.admission import Admission
from services.gateway.http.exchange import Exchange, Template
from services.gateway.http.message import HttpRequest, HttpResponse
from services.gateway.http.routes import Handler, Routes
from services.gateway.http.server import HttpServer

__all__ = [
    "Admission",
    "Exchange",
    "Handler",
    "HttpRequest",
    "HttpResponse",
    "HttpServer",
    "Routes",
    "Template",
]
