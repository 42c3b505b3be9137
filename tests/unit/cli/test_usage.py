"""`pdmesh usage`, against a server that answers as the gateway does."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest

from services.cli.main import main
from services.cli.usage import lines, run
from services.common.errors import BadSetting

ROW = {
    "day": "2026-01-31",
    "tenant": "acme",
    "model": "demo",
    "requests": 3,
    "prompt_tokens": 30,
    "cached_tokens": 12,
    "generated_tokens": 15,
    "kv_seconds": 4.56,
    "cost": 0.00125,
}


class Handler(http.server.BaseHTTPRequestHandler):
    status = 200
    body: ClassVar[dict[str, Any]] = {}
    asked: ClassVar[list[tuple[str, str]]] = []

    def do_GET(self) -> None:
        type(self).asked.append((self.path, self.headers.get("Authorization", "")))
        data = json.dumps(self.body).encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def answering(body: dict[str, Any], status: int = 200) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    asked: ClassVar[list[tuple[str, str]]] = []
    handler = type("Scripted", (Handler,), {"body": body, "status": status, "asked": asked})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def test_rows_are_a_table_with_their_sum() -> None:
    shown = lines([ROW, {**ROW, "tenant": "", "requests": 4}])
    assert shown[0].split("  ")[0] == "day"
    assert "(anonymous)" in shown[2]
    assert shown[3].split()[:2] == ["all", "7"]
    assert lines([]) == ["nothing was used"]
    assert len(lines([ROW])) == 2


def test_asks_for_the_days_and_tenant_with_the_key(capsys: pytest.CaptureFixture[str]) -> None:
    with answering({"data": [ROW]}) as (url, asked):
        told = ["--from", "2026-01-01", "--to", "2026-01-31", "--tenant", "a&b", "--api-key", "k", "--json"]
        assert run(["--url", url, *told]) == 0
    assert asked == [("/admin/usage?from=2026-01-01&to=2026-01-31&tenant=a%26b", "Bearer k")]
    assert json.loads(capsys.readouterr().out) == [ROW]


def test_csv_has_a_line_of_names(capsys: pytest.CaptureFixture[str]) -> None:
    with answering({"data": [ROW]}) as (url, _):
        assert run(["--url", url, "--csv", "--day", "2026-01-31"]) == 0
    names, line = capsys.readouterr().out.splitlines()
    assert names.startswith("day,tenant,model,requests,")
    assert line == "2026-01-31,acme,demo,3,30,12,15,4.56,0.00125"


def test_a_refusal_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    body = {"error": {"message": "not for you", "code": "not_allowed", "param": None, "type": "x"}}
    with answering(body, 403) as (url, _):
        assert run(["--url", url]) == 1
    assert capsys.readouterr().err == "pdmesh: not_allowed: not for you\n"


def test_an_address_that_is_none_is_a_bad_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadSetting, match="--url"):
        run(["--url", "nowhere"])
    assert main(["usage", "--url", "http://127.0.0.1:1"]) == 1
    assert "no mesh answers" in capsys.readouterr().err
