"""The reference retriever over the wire."""

import asyncio
import subprocess
import sys
from pathlib import Path

import grpc
import grpc.aio
import pytest

from pdmesh.retrieval.v1 import retriever_pb2 as wire
from services.cli.ingest import run as ingest
from services.common.errors import BadSetting
from tests.tidy.source import ROOT
from tests.wire.retrieval.conftest import running_retriever, stub_of


async def test_what_is_ingested_is_found_until_it_is_deleted(retriever: str) -> None:
    async with stub_of(retriever) as stub:
        asked = wire.RetrieveRequest(query="Where do llamas live?", passages_max=1)
        (found,) = (await stub.Retrieve(asked)).passages
        assert (found.id, found.source) == ("llama.md#0", "llama.md")
        assert 0 < found.score <= 1
        gone = await stub.Delete(wire.DeleteRequest(document_ids=["llama.md"]))
        assert gone.passages == 1
        assert "llama.md#0" not in [p.id for p in (await stub.Retrieve(asked)).passages]


@pytest.mark.parametrize(
    "request_",
    [
        wire.IngestRequest(documents=[wire.Document(text="no name")]),
        wire.IngestRequest(collection="x" * 600),
        wire.IngestRequest(documents=[wire.Document(id=str(n)) for n in range(2_000)]),
    ],
)
async def test_bad_documents_are_refused(retriever: str, request_: wire.IngestRequest) -> None:
    async with stub_of(retriever) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Ingest(request_)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_query_without_words_finds_nothing(retriever: str) -> None:
    async with stub_of(retriever) as stub:
        for query in ("", "?!", "the of and"):
            assert list((await stub.Retrieve(wire.RetrieveRequest(query=query))).passages) == []


async def test_the_command_reads_files_and_directories(tmp_path: Path) -> None:
    (tmp_path / "docs" / "deep").mkdir(parents=True)
    (tmp_path / "docs" / "deep" / "a.md").write_text("Parrots have plumage.")
    (tmp_path / "docs" / "b.txt").write_text("Llamas live in the Andes.")
    (tmp_path / "docs" / "c.bin").write_bytes(b"\xff\xfe")
    async with running_retriever() as address:
        command = [sys.executable, "-m", "services.cli", "ingest", str(tmp_path / "docs")]
        flags = ["--retriever", address, "--collection", "zoo"]
        done = await asyncio.create_subprocess_exec(*command, *flags, cwd=ROOT, stdout=subprocess.PIPE)
        said, _ = await done.communicate()
        assert (done.returncode, said) == (0, b"2 documents, 2 passages\n")
        async with stub_of(address) as stub:
            asked = wire.RetrieveRequest(collection="zoo", query="llamas")
            (found,) = (await stub.Retrieve(asked)).passages
            assert found.source.endswith("docs/b.txt")


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"\xff\xfe")
    for name in ("x.bin", "absent.md"):
        with pytest.raises(BadSetting):
            ingest([str(tmp_path / name)])
