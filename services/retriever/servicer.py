"""`RetrieverService`: converts, and asks the library."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import grpc.aio

from pdmesh.retrieval.v1 import retriever_pb2 as wire
from pdmesh.retrieval.v1 import retriever_pb2_grpc
from services.common.errors import InvalidField, MeshError
from services.common.rpc import abort_with
from services.retriever.library import Document, Library

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

PASSAGES_DEFAULT, PASSAGES_MAX = 4, 64
DOCUMENTS_MAX = 1_024
"""In one call."""
NAME_CHARS_MAX = 512
QUERY_CHARS_MAX = 16_384


class RetrieverServicer(retriever_pb2_grpc.RetrieverServiceServicer):
    """All calls of the retriever."""

    def __init__(self, library: Library) -> None:
        self._library = library

    async def Retrieve(self, request: wire.RetrieveRequest, context: Context) -> wire.RetrieveResponse:  # noqa: N802
        """The passages that fit a query best."""
        try:
            scope = _scope(request.tenant, request.collection)
            count = min(request.passages_max or PASSAGES_DEFAULT, PASSAGES_MAX)
            found = await self._library.retrieve(scope, request.query[:QUERY_CHARS_MAX], count)
        except MeshError as error:
            await abort_with(context, error)
        return wire.RetrieveResponse(
            passages=[
                wire.Passage(id=one.passage_id, text=one.text, source=one.source, score=one.score)
                for one in found
            ]
        )

    async def Ingest(self, request: wire.IngestRequest, context: Context) -> wire.IngestResponse:  # noqa: N802
        """Add or replace documents."""
        try:
            scope = _scope(request.tenant, request.collection)
            documents = [_document(given, f"documents[{i}]") for i, given in enumerate(request.documents)]
            _check_count("documents", documents)
            done = await self._library.ingest(scope, documents)
        except MeshError as error:
            await abort_with(context, error)
        return wire.IngestResponse(documents=done.documents, passages=done.passages)

    async def Delete(self, request: wire.DeleteRequest, context: Context) -> wire.DeleteResponse:  # noqa: N802
        """Forget documents."""
        try:
            scope = _scope(request.tenant, request.collection)
            _check_count("document_ids", request.document_ids)
            gone = await self._library.delete(scope, request.document_ids)
        except MeshError as error:
            await abort_with(context, error)
        return wire.DeleteResponse(passages=gone)


def _scope(tenant: str, collection: str) -> tuple[str, str]:
    if len(collection) > NAME_CHARS_MAX:
        raise InvalidField(f"collection: at most {NAME_CHARS_MAX} characters", field="collection")
    return tenant, collection


def _document(given: wire.Document, at: str) -> Document:
    if not 0 < len(given.id) <= NAME_CHARS_MAX:
        raise InvalidField(f"{at}.id: must have 1 to {NAME_CHARS_MAX} characters", field=f"{at}.id")
    return Document(given.id, given.text, given.source or given.id)


def _check_count(name: str, given: Sequence[Any]) -> None:
    if len(given) > DOCUMENTS_MAX:
        raise InvalidField(f"{name}: at most {DOCUMENTS_MAX} in one call", field=name)
