"""`pdmesh demo`: a small mesh, one question over REST, the answer as it comes, the receipt."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import indent
from typing import Any

from services.cli import configuration
from services.cli.chat import delta_text, first_model
from services.cli.demo_question import QUESTION, RIGHT_ANSWER, shortened
from services.cli.mesh_client import stream_events
from services.cli.receipt import receipt_lines
from services.cli.startup import startup_unwrapped
from services.cli.terminal import show
from services.cli.up import Mesh, check_model
from services.cli.up_settings import UpSettings
from services.common.errors import MeshError
from services.common.settings import StrictParser, setting
from services.common.telemetry import dropped_notice, relay_output

DEMO_MODEL = "models/demo"
"""The model whose answer to the default question can be judged."""
MARGIN = "  "


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """One prefill and one decode worker, and a question for them."""

    model: str = setting(DEMO_MODEL, "Directory of the model")
    engine: str = setting("vllm", "Engine of the workers", choices=("vllm", "sim"))
    port: int = setting(8000, "Port of the REST API; 0 picks a free one", least=0, most=65535)
    question: str = setting("", "What to ask; to look up a word in a table where not set")
    max_tokens: int = setting(64, "Longest answer in tokens")
    log_dir: str = setting("build/demo-logs", "Directory for one log file per process")
    once: bool = setting(False, "Stop after the answer instead of at Ctrl-C")

    @property
    def right_answer(self) -> str:
        """What must be answered; empty where that cannot be known."""
        is_known = Path(self.model).resolve() == Path(DEMO_MODEL).resolve() and self.engine == "vllm"
        return RIGHT_ANSWER if is_known and not self.question else ""


@dataclass(slots=True)
class Answer:
    """What came back."""

    text: str = ""
    receipt: dict[str, Any] = field(default_factory=dict)
    """Empty when there was no answer."""

    def is_as_wanted(self, right_answer: str) -> bool:
        """Whether it came over the disaggregated path and is right, where that is known."""
        is_right = not right_answer or self.text.strip() == right_answer
        return self.receipt.get("path") == "disaggregated" and is_right


def run(arguments: Sequence[str]) -> int:
    """0 when the answer came over the disaggregated path and is right, else 1; raises `Startup`."""
    parser = StrictParser(prog="pdmesh demo", description="Start a small mesh and ask it one question.")
    settings, _ = configuration.read(parser, DemoSettings, "demo", arguments)
    check_model(settings.model)
    relay_output(dropped_notice)
    with startup_unwrapped():
        return asyncio.run(Demo(settings).run())


class Demo:
    """The mesh, and the one who asks it."""

    def __init__(self, settings: DemoSettings) -> None:
        self._settings = settings
        self._url = ""
        self._is_up = asyncio.Event()
        up = UpSettings(
            model=settings.model, engine=settings.engine, port=settings.port, log_dir=settings.log_dir
        )
        self._mesh = Mesh(up, self._on_up)

    async def run(self) -> int:
        """Until Ctrl-C, or with `once` until the answer; the exit code."""
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(self._ask_when_up())
            await self._mesh.run()
            asking.cancel()
        return 0 if not asking.cancelled() and asking.result() else 1

    def _on_up(self, url: str) -> None:
        self._url = url
        self._is_up.set()

    async def _ask_when_up(self) -> bool:
        """Whether the answer is as wanted."""
        await self._is_up.wait()
        answer = await asyncio.to_thread(ask, self._url, self._settings)
        if self._settings.once:
            self._mesh.stop.set()
        else:
            print(
                f"\nAsk it yourself: pdmesh chat --url {self._url} --receipt\nCtrl-C stops the mesh.",
                flush=True,
            )
        return answer.is_as_wanted(self._settings.right_answer)


def ask(url: str, settings: DemoSettings) -> Answer:
    """Ask, print question, answer, verdict and receipt."""
    question = settings.question or QUESTION
    shown = settings.question or shortened()
    print(f"\nQuestion\n{indent(shown, MARGIN)}\n\nAnswer\n{MARGIN}", end="", flush=True)
    answer = Answer()
    try:
        for event in stream_events(f"{url}/v1/chat/completions", body(first_model(url), question, settings)):
            answer.receipt = event.get("pdmesh") or answer.receipt
            answer.text += delta_text(event)
            show(delta_text(event))
    except MeshError as error:
        print(f"[{error.reason}: {error.message}]", end="")
    print(verdict(answer, settings.right_answer))
    print("\n\nReceipt", *receipt_lines(answer.receipt), sep="\n", flush=True)
    return answer


def verdict(answer: Answer, right_answer: str) -> str:
    """A line that says whether the answer is right; empty where that cannot be known."""
    if not right_answer:
        return ""
    if answer.text.strip() == right_answer:
        return f"\n{MARGIN}Right: the row stands near the beginning of the prompt, whose KV was handed over."
    return f"\n{MARGIN}Wrong: the row is {right_answer!r}."


def body(model: str, question: str, settings: DemoSettings) -> dict[str, Any]:
    """The request: streaming, greedy, with a receipt."""
    return {
        "model": model,
        "messages": [{"role": "user", "content": question}],
        "max_tokens": settings.max_tokens,
        "temperature": 0,
        "stream": True,
        "pdmesh": {"receipt": True},
    }
