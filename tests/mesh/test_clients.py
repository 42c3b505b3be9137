"""What people point at a mesh: the official client, and `pdmesh chat`."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai

from tests.mesh import model
from tests.mesh.harness import Mesh, run_cli
from tests.tidy.source import ROOT

HELLO = [{"role": "user", "content": "hello"}]


async def test_the_official_client_streams_and_does_not_stream(mesh: Mesh, model_dir: Path) -> None:
    prompt = list(b"a prompt of bytes, long enough for the disaggregated path") * 4
    expected = model.expected_text(model_dir, prompt, 50)
    async with openai.AsyncOpenAI(base_url=f"{mesh.url}/v1", api_key="none", max_retries=0) as client:
        listed = [entry.id async for entry in await client.models.list()]
        assert listed == [model_dir.name]
        whole = await client.completions.create(model=listed[0], prompt=prompt, max_tokens=50)
        assert whole.choices[0].text == expected
        assert whole.usage is not None
        assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (len(prompt), 50)
        pieces = await client.completions.create(model=listed[0], prompt=prompt, max_tokens=50, stream=True)
        assert "".join([piece.choices[0].text async for piece in pieces if piece.choices]) == expected
        chat = await client.chat.completions.create(
            model=listed[0], messages=HELLO, max_tokens=9, stream=True
        )
        said = "".join([c.choices[0].delta.content or "" async for c in chat if c.choices])
        assert len(said.split()) == 9


def test_chat_asks_one_question_and_shows_the_receipt(mesh: Mesh) -> None:
    arguments = ["chat", "--url", mesh.url, "--max-tokens", "7"]
    plain = run_cli([*arguments, "hello"])
    assert plain.returncode == 0, plain.stderr
    assert len(plain.stdout.split()) == 7
    again = run_cli([*arguments, "--receipt", "hello"])
    assert again.stdout.splitlines()[0] == plain.stdout.splitlines()[0]
    assert "  generated tokens  7" in again.stdout.splitlines()


def test_chat_takes_its_question_from_a_pipe(mesh: Mesh) -> None:
    asked = run_cli(["chat", "--url", mesh.url, "--max-tokens", "7", "hello"])
    piped = run_cli(["chat", "--url", mesh.url, "--max-tokens", "7"], input="hello")
    assert piped.stdout == asked.stdout


def test_chat_says_in_one_line_what_the_mesh_refuses(mesh: Mesh) -> None:
    refused = run_cli(["chat", "--url", mesh.url, "--model", "absent", "hello"])
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert line.startswith("pdmesh: model_not_found: ")


def test_ctrl_c_stops_an_answer(mesh: Mesh) -> None:
    arguments = ["chat", "--url", mesh.url, "--max-tokens", "4000", "hello"]
    with started(arguments, stdout=subprocess.PIPE) as chat:
        assert chat.stdout is not None
        assert chat.stdout.read(20)  # in the middle of the answer
        chat.send_signal(signal.SIGINT)
        assert chat.wait(20) == 130


def test_a_conversation_on_a_terminal_remembers_what_was_said(mesh: Mesh) -> None:
    ours, theirs = pty.openpty()
    arguments = ["chat", "--url", mesh.url, "--max-tokens", "3"]
    with started(arguments, stdin=theirs, stdout=subprocess.PIPE) as chat:
        os.close(theirs)
        assert chat.stdout is not None
        answers = []
        for line in (b"hello\n", b"hello\n", b"/new\n", b"hello\n"):
            os.write(ours, line)
            if line != b"/new\n":
                answers.append(chat.stdout.readline().removeprefix(b"> "))
        os.write(ours, b"/exit\n")
        assert chat.wait(20) == 0
    os.close(ours)
    first, second, anew = answers
    assert first == anew.removeprefix(b"> ")
    assert first != second  # the second prompt holds the first answer


@contextmanager
def started(arguments: list[str], **options: Any) -> "Iterator[subprocess.Popen[bytes]]":
    """One `pdmesh` command as a process, killed if it is still there at the end."""
    command = [sys.executable, "-m", "services.cli", *arguments]
    with subprocess.Popen(command, cwd=ROOT, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def test_the_demo_asks_and_ends_well_over_the_disaggregated_path(model_dir: Path, tmp_path: Path) -> None:
    options = ["--engine", "sim", "--model", str(model_dir), "--port", "0", "--log-dir", str(tmp_path)]
    shown = run_cli(["demo", *options, "--once", "--max-tokens", "9"])
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "  path              disaggregated" in shown.stdout.splitlines()
    answer = shown.stdout.partition("Answer\n")[2].splitlines()[0]
    assert len(answer.split()) == 9


def test_the_demo_tells_when_the_path_was_another(model_dir: Path, tmp_path: Path) -> None:
    options = ["--engine", "sim", "--model", str(model_dir), "--port", "0", "--log-dir", str(tmp_path)]
    assert run_cli(["demo", *options, "--once", "--question", "short"]).returncode == 1
