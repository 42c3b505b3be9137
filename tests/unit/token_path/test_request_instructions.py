"""A request's cost beside its tokens, counted as theirs is: a longer way of a request fails here.

The bounds are a quarter above what was counted when they were set. Links and sockets are not in it.
"""

from collections.abc import Iterator

import pytest

from pdmesh.fleet.v1 import fleet_pb2
from pdmesh.router.v1 import router_pb2
from tests.unit.gateway.model_directory import write_model
from tests.unit.token_path.instructions import Work, work_of
from tests.unit.token_path.requests import PROMPT_TOKENS, GatewayRequests, RouterRequests

REQUESTS = 4


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayRequests]:
    with GatewayRequests(write_model(tmp_path_factory.mktemp("model"))) as gateway:
        yield gateway


def router_work(output_tokens: int) -> Work:
    path = RouterRequests(output_tokens)
    path.play(path.script(1))
    numbers = iter(range(2, 2 + 2 * REQUESTS))
    scripts = iter([[path.script(next(numbers)) for _ in range(REQUESTS)] for _ in "ab"])

    def play() -> None:
        for script in next(scripts):
            path.play(script)

    return work_of(play)


def gateway_work(gateway: GatewayRequests) -> Work:
    return asked(gateway, [gateway.question()] * (1 + 2 * REQUESTS))


def chat_work(gateway: GatewayRequests) -> Work:
    return asked(gateway, [gateway.chat(number) for number in range(1 + 2 * REQUESTS)])


def asked(gateway: GatewayRequests, bodies: list[bytes]) -> Work:
    questions, answers = iter(bodies), iter(gateway.answers(len(bodies)))
    gateway.play(next(questions), next(answers))

    def play() -> None:
        for _ in range(REQUESTS):
            gateway.play(next(questions), next(answers))

    return work_of(play)


def test_a_router_hands_a_request_over_and_ends_it() -> None:
    path = RouterRequests(3)
    sent = path.play(path.script(1))
    prefill, placed, adopt, *news, ended = sent
    (job,) = fleet_pb2.AttachResponse.FromString(prefill).jobs
    assert len(job.prompt_token_ids) == 4 * PROMPT_TOKENS
    assert router_pb2.ConnectResponse.FromString(placed).placed[0].prefill_worker == "w2"
    assert fleet_pb2.AttachResponse.FromString(adopt).jobs[0].handoff.handoff_id == "h1"
    receipt = router_pb2.ConnectResponse.FromString(ended).ended[0].receipt
    assert (receipt.prompt_tokens, receipt.generated_tokens) == (PROMPT_TOKENS, 3)
    assert not news
    assert not path.shell.core.state.flights
    assert not len(path.shell.core.state.ledger)


def test_a_gateway_passes_a_request_on_and_answers_it(gateway: GatewayRequests) -> None:
    (answer,) = gateway.answers(1)
    asked, told = gateway.play(gateway.question(), answer)
    (submission,) = router_pb2.ConnectRequest.FromString(asked).submissions
    assert len(submission.prompt_token_ids) == 4 * PROMPT_TOKENS
    assert told.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b'"finish_reason":"length"' in told
    assert told.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


def test_the_count_is_the_same_each_time(gateway: GatewayRequests) -> None:
    assert router_work(1) == router_work(1)
    assert gateway_work(gateway) == gateway_work(gateway)


def test_a_router_does_little_for_a_request() -> None:
    instructions, library_calls = router_work(1).per(REQUESTS)
    assert instructions < 13_900, "11_106 when the bound was set"
    assert library_calls < 340, "272 when the bound was set"


def test_a_router_does_little_for_a_handoff() -> None:
    instructions, library_calls = router_work(3).per(REQUESTS)
    assert instructions < 17_500, "13_978 when the bound was set"
    assert library_calls < 432, "346 when the bound was set"


def test_a_gateway_does_little_for_a_request(gateway: GatewayRequests) -> None:
    instructions, library_calls = gateway_work(gateway).per(REQUESTS)
    assert instructions < 8_500, "6_811 when the bound was set"
    assert library_calls < 224, "179 when the bound was set"


def test_a_gateway_does_little_for_a_conversation(gateway: GatewayRequests) -> None:
    """A text of 500 words is rendered and encoded in a handful of calls more than token ids are taken."""
    instructions, library_calls = chat_work(gateway).per(REQUESTS)
    assert instructions < 11_400, "9_080 when the bound was set"
    assert library_calls < 306, "245 when the bound was set"
