"""Nothing that the gateway does for a tenant is free: each request counts, whatever becomes of it."""

import grpc
import grpc.aio
import msgspec
import pytest

from pdmesh.inference.v1 import inference_pb2 as api
from pdmesh.inference.v1.inference_pb2_grpc import InferenceServiceStub
from tests.attack.conftest import Besiege
from tests.attack.siege import INNOCENT, Siege

QUOTA = "requests_per_minute = 3"
TURN = {"role": "user", "content": "Hi"}
WORK: dict[str, tuple[str, object, int]] = {
    "tokenize": ("/tokenize", {"prompt": "Hi"}, 200),
    "detokenize": ("/detokenize", {"tokens": [1, 2]}, 200),
    "count_tokens": ("/v1/messages/count_tokens", {"model": "tiny", "messages": [TURN]}, 200),
    "an over-long prompt": ("/v1/completions", {"model": "tiny", "prompt": "a b " * 2_000}, 400),
    "an endless prompt": ("/v1/completions", {"model": "tiny", "prompt": "a" * 100_000}, 400),
    "a wrong field": ("/v1/chat/completions", {"model": "tiny", "messages": [TURN], "n": 0}, 400),
    "a wrong prompt": ("/tokenize", {"prompt": 5}, 400),
    "an unknown model": ("/v1/completions", {"model": "none", "prompt": "Hi"}, 404),
    "no vectors": ("/v1/embeddings", {"model": "tiny", "input": "Hi"}, 400),
}


async def statuses(siege: Siege, path: str, body: bytes, *headers: str, count: int = 4) -> list[int]:
    """What becomes of so many requests of mallory."""
    return [(await siege.post("mallory", path, body, *headers)).status for _ in range(count)]


@pytest.mark.parametrize("what", WORK)
async def test_every_kind_of_work_counts(besieged: Besiege, what: str) -> None:
    path, body, status = WORK[what]
    async with besieged(quota=QUOTA) as siege:
        encoded = msgspec.json.encode(body)
        assert await statuses(siege, path, encoded) == [status] * 3 + [429]
        assert await siege.innocent() == [200] * 5


async def test_replays_count(besieged: Besiege) -> None:
    async with besieged(quota=QUOTA) as siege:
        key = "idempotency-key: again"
        assert await statuses(siege, "/v1/completions", INNOCENT, key) == [200] * 3 + [429]
        assert len(siege.edge.router.jobs) == 1


async def test_a_generation_counts_once(besieged: Besiege) -> None:
    async with besieged(quota=QUOTA) as siege:
        assert await statuses(siege, "/v1/completions", INNOCENT) == [200] * 3 + [429]


async def test_what_is_used_up_is_refused_by_the_head(besieged: Besiege) -> None:
    """The body is not read, so that a tenant without a request left costs nothing more."""
    async with besieged(quota=QUOTA) as siege:
        assert await statuses(siege, "/v1/completions", INNOCENT, count=3) == [200] * 3
        client = await siege.half_sent("mallory", 10, declared=8_000_000)
        refused = await client.response()
        assert (refused.status, refused.headers["connection"]) == (429, "close")
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.headers["x-ratelimit-limit-requests"] == "3"
        await client.close()


async def test_wrong_requests_count_while_all_slots_are_taken(besieged: Besiege) -> None:
    async with besieged(quota=f"{QUOTA}\nconcurrent = 1") as siege:
        siege.edge.router.script = lambda job: None
        held = await siege.edge.client()
        held.send(await request_of(siege))
        await siege.edge.router.job()
        assert await statuses(siege, "/v1/completions", b"{}", count=3) == [400, 400, 429]
        await held.close()


async def request_of(siege: Siege) -> bytes:
    """A request of mallory's that is generated for ever."""
    head = f"POST /v1/completions HTTP/1.1\r\nhost: t\r\n{siege.credential('mallory')}\r\n"
    return f"{head}content-length: {len(INNOCENT)}\r\n\r\n".encode() + INNOCENT


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("Tokenize", api.TokenizeRequest(model="tiny", text="Hi")),
        ("Detokenize", api.DetokenizeRequest(model="tiny", token_ids=[1])),
        ("Detokenize", api.DetokenizeRequest(model="none", token_ids=[1])),
    ],
)
async def test_calls_count_too(besieged: Besiege, method: str, request_: object) -> None:
    async with besieged(quota=QUOTA) as siege, grpc.aio.insecure_channel(siege.edge.grpc) as channel:
        call = getattr(InferenceServiceStub(channel), method)
        codes = []
        for _ in range(4):
            try:
                await call(request_, metadata=(("authorization", f"Bearer {siege.keys['mallory']}"),))
                codes.append(grpc.StatusCode.OK)
            except grpc.aio.AioRpcError as error:
                codes.append(error.code())
        assert codes[:3] == [codes[0]] * 3
        assert codes[0] is not grpc.StatusCode.RESOURCE_EXHAUSTED
        assert codes[3] is grpc.StatusCode.RESOURCE_EXHAUSTED
