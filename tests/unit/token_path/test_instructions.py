"""A token's cost, counted in instructions of the interpreter: a slower token path fails here, a busy machine
does not.

The bounds are a quarter above what was counted when they were set.
"""

import pytest

from services.gateway.models.rendering import ModelFiles, Renderer
from tests.unit.gateway.model_directory import write_model
from tests.unit.token_path.instructions import Work, work_of
from tests.unit.token_path.paths import GatewayPath, RouterPath

STREAMS = 64


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    return Renderer(ModelFiles.read(write_model(tmp_path_factory.mktemp("model"))))


def router_work(streams: int) -> Work:
    path = RouterPath(streams)
    data = path.frame()
    return work_of(lambda: path.step(data))


def gateway_work(streams: int, renderer: Renderer) -> Work:
    path = GatewayPath(streams, renderer)
    data = path.frame()
    return work_of(lambda: path.step(data))


def test_every_stream_gets_its_token(renderer: Renderer) -> None:
    router = RouterPath(STREAMS)
    assert len(router.jobs) == STREAMS
    assert len(router.step(router.frame())) > STREAMS * 8
    gateway = GatewayPath(STREAMS, renderer)
    gateway.step(gateway.frame())
    assert len(gateway.written) == STREAMS
    assert all(b'"text":"a"' in event.replace(b'": "', b'":"') for event in gateway.written)


def test_the_count_is_the_same_each_time(renderer: Renderer) -> None:
    assert router_work(8) == router_work(8)
    assert gateway_work(8, renderer) == gateway_work(8, renderer)


def test_a_router_does_little_for_a_token() -> None:
    instructions, library_calls = router_work(STREAMS).per(STREAMS)
    assert instructions < 74, "59 when the bound was set"
    assert library_calls < 6.7, "5.3 when the bound was set"


def test_a_gateway_does_little_for_a_token(renderer: Renderer) -> None:
    instructions, library_calls = gateway_work(STREAMS, renderer).per(STREAMS)
    assert instructions < 132, "106 when the bound was set"
    assert library_calls < 6.4, "5.1 when the bound was set"
