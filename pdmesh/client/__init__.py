"""A mesh as Python programs use it, over gRPC.

    from pdmesh.client import Client

    with Client("127.0.0.1:8001") as mesh:
        for delta in mesh.chat("demo", "Hello"):
            print(delta.text, end="")

`AsyncClient` is the same for asyncio. Failures are `MeshError` and its kinds, of which `Refused` may be tried
again later and `Invalid` is the caller's fault; `Unreachable` says that no gateway answers.
"""

from pdmesh.client.answer import (
    Answer,
    Choice,
    Delta,
    Passage,
    RetrievalReport,
    TokenLogprob,
    TokenLogprobs,
    ToolCallDelta,
    Usage,
)
from pdmesh.client.async_client import AsyncClient
from pdmesh.client.async_stream import AsyncStream
from pdmesh.client.client import Client
from pdmesh.client.errors import Unreachable
from pdmesh.client.options import CallOptions, RetryPolicy
from pdmesh.client.prompt import Message, Retrieval, Tool, ToolCall
from pdmesh.client.sampling import Sampling, StructuredOutput
from pdmesh.client.stream import Stream
from services.common.domain import Receipt, ServiceClass
from services.common.errors import Ended, Invalid, MeshError, Refused

__all__ = [
    "Answer",
    "AsyncClient",
    "AsyncStream",
    "CallOptions",
    "Choice",
    "Client",
    "Delta",
    "Ended",
    "Invalid",
    "MeshError",
    "Message",
    "Passage",
    "Receipt",
    "Refused",
    "Retrieval",
    "RetrievalReport",
    "RetryPolicy",
    "Sampling",
    "ServiceClass",
    "Stream",
    "StructuredOutput",
    "TokenLogprob",
    "TokenLogprobs",
    "Tool",
    "ToolCall",
    "ToolCallDelta",
    "Unreachable",
    "Usage",
]
