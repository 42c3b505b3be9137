"""What `pdmesh chat` makes of a mesh that fails it; the mesh here is a socket with prepared answers."""

import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from services.cli import chat
from services.cli.chat import ChatSettings, Conversation
from services.cli.main import main
from services.cli.mesh_client import stream_events
from services.common.errors import RouterUnavailable

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
HELLO = b'data: {"choices": [{"delta": {"content": "hello"}}]}\n\n'
CUT = b'data: {"choices": [{"delta"'
DONE = b"data: [DONE]\n\n"
RESET = struct.pack("ii", 1, 0)
"""Linger for no time: closing the socket resets the connection."""


class PreparedMesh:
    """Answers each connection in turn with prepared bytes, and keeps the bodies it was sent."""

    def __init__(self, listener: socket.socket, answers: list[bytes], is_reset: bool) -> None:
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.asked: list[list[dict[str, str]]] = []
        self.heard = threading.Event()
        """Set by the test once it has read what was sent, which a reset would otherwise overtake."""
        self._listener = listener
        self._answers = answers
        self._is_reset = is_reset

    def serve(self) -> None:
        for answer in self._answers:
            connection, _ = self._listener.accept()
            with connection:
                self.asked.append(read_body(connection)["messages"])
                connection.sendall(HEAD + answer)
                if self._is_reset:
                    self.heard.wait(10)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


def read_body(connection: socket.socket) -> dict[str, list[dict[str, str]]]:
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65_536)
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split()[0])
    while len(body) < length:
        body += connection.recv(65_536)
    read: dict[str, list[dict[str, str]]] = json.loads(body)
    return read


@contextmanager
def prepared(*answers: bytes, is_reset: bool = False) -> Iterator[PreparedMesh]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        mesh = PreparedMesh(listener, list(answers), is_reset)
        thread = threading.Thread(target=mesh.serve)
        thread.start()
        try:
            yield mesh
        finally:
            thread.join()


BODY = {"messages": []}


@pytest.mark.parametrize("answer", [b"", HELLO, HELLO + CUT])
def test_an_answer_that_ends_without_its_end_is_no_whole_answer(answer: bytes) -> None:
    with prepared(answer) as mesh, pytest.raises(RouterUnavailable, match="before the answer was whole"):
        list(stream_events(mesh.url, BODY))


def test_a_connection_that_is_reset_in_mid_answer_is_one_error() -> None:
    with prepared(HELLO, is_reset=True) as mesh:
        events = stream_events(mesh.url, BODY)
        next(events)
        mesh.heard.set()
        with pytest.raises(RouterUnavailable, match="before the answer was whole"):
            next(events)


def test_a_whole_answer_is_all_its_events() -> None:
    with prepared(HELLO + DONE) as mesh:
        assert len(list(stream_events(mesh.url, BODY))) == 1


def test_a_conversation_goes_on_after_a_failed_question(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(chat, "questions", lambda: iter(["lost", "kept"]))
    with prepared(HELLO, HELLO + DONE) as mesh:
        conversation = Conversation(ChatSettings(url=mesh.url), "m")
        assert chat.converse(conversation) == 0
    assert mesh.asked[1] == [{"role": "user", "content": "kept"}]
    assert capsys.readouterr().err.startswith("pdmesh: router_unavailable: ")


@pytest.mark.parametrize("url", ["http://[::1", "127.0.0.1", "http://127.0.0.1:x"])
def test_what_is_no_url_is_one_line(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", "--url", url, "hello"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"pdmesh: bad_setting: chat: --url: {url!r} is no http:// or https:// address")
