"""Neither a list of processes, nor a log, nor a file, nor the store gives away a secret or an answer."""

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
import redis

from tests.mesh import model
from tests.mesh.harness import Mesh
from tests.redis_server import redis_server

PASSWORD = "a-password-for-redis"
ANSWERS_SECRET = "a-secret-for-kept-answers"
BODY = b'{"model": "words", "prompt": "a b c", "max_tokens": 8}'


@pytest.fixture(params=[(), ("--edge",)], ids=["two processes", "edge"])
def mesh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Mesh, str]]:
    """A mesh on a Redis with a password, and the Redis's address."""
    (tmp_path / "answers").write_text(ANSWERS_SECRET)
    with ExitStack() as stack:
        server = stack.enter_context(redis_server())
        with redis.Redis.from_url(server.url) as client:
            client.config_set("requirepass", PASSWORD)
        url = server.url.replace("//", f"//:{PASSWORD}@")
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("PDMESH_UP_REDIS_URL", url)
        flags = ("--engine", "sim", "--answers-secret-file", str(tmp_path / "answers"), *request.param)
        yield stack.enter_context(Mesh(model.build(tmp_path / "words"), tmp_path, *flags)), url


def test_a_secret_is_nowhere_that_others_look(mesh: tuple[Mesh, str]) -> None:
    running, url = mesh
    headers = {"content-type": "application/json", "idempotency-key": "one"}
    with urlopen(Request(f"{running.url}/v1/completions", BODY, headers), timeout=60) as answer:
        text = answer.read()
    for pid in (running.process.pid, *running.pids.values()):
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
        assert PASSWORD.encode() not in line
        assert ANSWERS_SECRET.encode() not in line
    logs = running.logs(lines=10_000)
    assert PASSWORD not in logs
    assert ANSWERS_SECRET not in logs
    with redis.Redis.from_url(url) as client:
        running.wait_until(lambda: client.keys("pdmesh:answer:*log*"), "kept answer", 60.0)
        stored = [client.xrange(key) for key in client.keys("pdmesh:answer:*log*")]
    assert text not in repr(stored).encode()
    assert b"text_completion" not in repr(stored).encode()


def test_logs_are_for_their_user_alone(mesh: tuple[Mesh, str], tmp_path: Path) -> None:
    running, _ = mesh
    logs = list((tmp_path / "logs").iterdir())
    assert len(logs) == len(running.pids)
    assert {stat.S_IMODE(log.stat().st_mode) for log in logs} == {0o600}
    assert os.getuid() == logs[0].stat().st_uid
