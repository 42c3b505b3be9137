"""`pdmesh chat`: talk to a mesh in the terminal."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from services.cli import configuration
from services.cli.access import NOBODY, Access
from services.cli.mesh_client import models_served, stream_events
from services.cli.receipt import receipt_lines
from services.cli.terminal import show
from services.common.errors import MeshError
from services.common.settings import StrictParser, group, setting

EPILOG = "Without a prompt: a conversation, /new begins another one, /exit or Ctrl-D ends it."
INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """One conversation."""

    url: str = setting("http://127.0.0.1:8000", "The mesh's REST API")
    model: str = setting("", "Model to ask; the mesh's first where not set")
    system: str = setting("", "System message")
    max_tokens: int = setting(512, "Longest answer in tokens")
    temperature: float | None = setting(None, "Sampling temperature; the model's own where not set")
    access: Access = group(Access)
    receipt: bool = setting(False, "Show path, workers and times after each answer")

    def __post_init__(self) -> None:
        if not is_http(self.url):
            raise ValueError(f"--url: {self.url!r} is no http:// or https:// address")


def is_http(url: str) -> bool:
    """Whether this is an address that an HTTP client can call."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a bracket that is not closed, a port that is no number
        return False


def run(arguments: Sequence[str]) -> int:
    """One question and answer, or a conversation; 1 with one line when the mesh does not answer."""
    parser = StrictParser(prog="pdmesh chat", description="Talk to a mesh in the terminal.", epilog=EPILOG)
    parser.add_argument("prompt", nargs="*", help="Ask this one question; - reads it from standard input")
    settings, options = configuration.read(parser, ChatSettings, "chat", arguments)
    try:
        model = settings.model or first_model(settings.url, settings.access)
        conversation = Conversation(settings, model)
        question = one_question(options["prompt"])
        return conversation.ask(question) if question is not None else converse(conversation)
    except MeshError as error:
        say(error)
        return 1


def say(error: MeshError) -> None:
    """One line on standard error."""
    print(f"pdmesh: {error.reason}: {error.message}", file=sys.stderr)


def first_model(url: str, access: Access = NOBODY) -> str:
    """The first model served at `url`; raises `MeshError`."""
    models = models_served(url, access)
    if not models:
        raise MeshError(f"the mesh at {url} serves no model at the moment")
    return models[0]


def one_question(words: Sequence[str]) -> str | None:
    """The question of a one-shot call; None for a conversation."""
    if list(words) == ["-"] or (not words and not sys.stdin.isatty()):
        return sys.stdin.read()
    return " ".join(words) or None


def converse(conversation: "Conversation") -> int:
    """Ask until the end of input; a question that the mesh cannot answer costs only itself."""
    for question in questions():
        if question == "/exit":
            break
        if question == "/new":
            conversation.forget()
        elif question:
            try:
                conversation.ask(question)
            except MeshError as error:
                say(error)
    return 0


def questions() -> Iterator[str]:
    """Lines that the user types."""
    import readline  # noqa: F401 - gives input() editing and history

    while True:
        try:
            yield input("> ").strip()
        except KeyboardInterrupt:
            print()
        except EOFError:
            print()
            return


class Conversation:
    """Questions and answers so far; every question is sent with all of them."""

    def __init__(self, settings: ChatSettings, model: str) -> None:
        self._settings = settings
        self._model = model
        self._messages: list[dict[str, str]] = []
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        system = self._settings.system
        self._messages = [{"role": "system", "content": system}] if system else []

    def ask(self, question: str) -> int:
        """Print the answer as it comes; Ctrl-C stops it and keeps what came.

        Raises `MeshError`; the question is forgotten then, with what came of its answer.
        """
        self._messages.append({"role": "user", "content": question})
        answer: list[str] = []
        receipt: dict[str, Any] | None = None
        code = 0
        try:
            url = f"{self._settings.url}/v1/chat/completions"
            for event in stream_events(url, self._body(), self._settings.access):
                receipt = event.get("pdmesh") or receipt
                text = delta_text(event)
                answer.append(text)
                show(text)
        except KeyboardInterrupt:
            code = INTERRUPTED
        except MeshError:
            del self._messages[-1]
            if answer:
                print()
            raise
        print()
        self._messages.append({"role": "assistant", "content": "".join(answer)})
        if self._settings.receipt and receipt:
            print("\n".join(receipt_lines(receipt)))
        return code

    def _body(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._model,
            "messages": self._messages,
            "max_tokens": self._settings.max_tokens,
            "stream": True,
        }
        if self._settings.receipt:
            body["pdmesh"] = {"receipt": True}
        if self._settings.temperature is not None:
            body["temperature"] = self._settings.temperature
        return body


def delta_text(event: dict[str, Any]) -> str:
    """The text that one event adds to the answer."""
    choices = event.get("choices") or [{}]
    text: str = choices[0].get("delta", {}).get("content") or ""
    return text
