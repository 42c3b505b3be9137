"""`pdmesh ingest`: give documents to a retriever."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc.aio

from pdmesh.retrieval.v1 import retriever_pb2 as wire
from pdmesh.retrieval.v1 import retriever_pb2_grpc
from services.cli import configuration
from services.common.credentials import MeshSettings
from services.common.errors import BadSetting
from services.common.rpc import error_from_rpc, open_channel
from services.common.settings import StrictParser, group, setting

SUFFIXES = (".md", ".rst", ".txt")
BATCH_BYTES = 2 * 1024 * 1024
BATCH_DOCUMENTS = 256
TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class IngestSettings:
    """Which documents go where."""

    retriever: str = setting("127.0.0.1:9400", "Retriever to give them to, HOST:PORT")
    collection: str = setting("", "Collection to add them to; the default one where not set")
    tenant: str = setting("", "Tenant whose collection it is; anonymous callers' where not set")
    mesh: MeshSettings = group(MeshSettings, "mesh_")


def run(arguments: Sequence[str]) -> int:
    """Send the documents; raises `MeshError` with the retriever's words."""
    parser = StrictParser(prog="pdmesh ingest", description="Give documents to a retriever.")
    directories = f"a directory stands for all {', '.join(SUFFIXES)} below it"
    parser.add_argument("paths", nargs="+", help=f"Text files; {directories}")
    settings, options = configuration.read(parser, IngestSettings, "ingest", arguments)
    paths = [path for given in options["paths"] for path in files_of(Path(given))]
    done = asyncio.run(ingest(settings, paths))
    print(f"{done.documents} documents, {done.passages} passages")
    return 0


def files_of(path: Path) -> list[Path]:
    """A file, or the texts below a directory; raises `BadSetting` for what is not there."""
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())
    if not path.is_file():
        raise BadSetting(f"{path} is neither a file nor a directory")
    return [path]


def batches(paths: Sequence[Path]) -> Iterator[list[wire.Document]]:
    """Documents, as many as fit one message; raises `BadSetting` for a file that is no text."""
    batch: list[wire.Document] = []
    size_bytes = 0
    for path in paths:
        document = wire.Document(id=str(path), source=str(path), text=_text(path))
        if batch and (size_bytes + document.ByteSize() > BATCH_BYTES or len(batch) == BATCH_DOCUMENTS):
            yield batch
            batch, size_bytes = [], 0
        batch.append(document)
        size_bytes += document.ByteSize()
    if batch:
        yield batch


async def ingest(settings: IngestSettings, paths: Sequence[Path]) -> wire.IngestResponse:
    """Send all of them; what became of them together."""
    security = settings.mesh.security()
    done = wire.IngestResponse()
    async with open_channel(settings.retriever, security=security) as channel:
        stub = retriever_pb2_grpc.RetrieverServiceStub(channel)
        for batch in batches(paths):
            request = wire.IngestRequest(
                collection=settings.collection, tenant=settings.tenant, documents=batch
            )
            try:
                answer = await stub.Ingest(request, timeout=TIMEOUT_S, metadata=security.metadata)
            except grpc.aio.AioRpcError as failure:
                raise error_from_rpc(failure) from None
            done.documents += answer.documents
            done.passages += answer.passages
    return done


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(f"{path}: {getattr(error, 'strerror', None) or 'is no UTF-8 text'}") from None
