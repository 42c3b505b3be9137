"""`pdmesh demo`: a small mesh, one question over REST, the answer as it comes, the receipt."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import indent
from typing import Any

from services.cli import configuration
from services.cli.chat import delta_text, first_model
from services.cli.mesh_client import stream_events
from services.cli.receipt import receipt_lines
from services.cli.startup import startup_unwrapped
from services.cli.terminal import show
from services.cli.up import Mesh, check_model
from services.cli.up_settings import UpSettings
from services.common.errors import MeshError
from services.common.settings import StrictParser, setting

QUESTION = """\
Here is a table:
river: green leaf
bridge: short salt
castle: heavy train
engine: small ladder
forest: strange plate
garden: brown map
hammer: quiet glass
island: warm pig
jacket: dark king
kettle: fast grass
mirror: red hen
needle: late rose
ocean: new wire
pencil: cold jar
queen: happy desk
stone: full cup
valley: simple bell
window: brave fish
anchor: golden doctor
basket: closed knife
What is the value of window?"""
"""Long enough to be handed over, and its answer stands nowhere but in the KV cache that is."""
MARGIN = "  "


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """One prefill and one decode worker, and a question for them."""

    model: str = setting("models/demo", "Directory of the model")
    engine: str = setting("vllm", "Engine of the workers", choices=("vllm", "sim"))
    port: int = setting(8000, "Port of the REST API; 0 picks a free one", least=0, most=65535)
    question: str = setting("", "What to ask; to look up a word in a table where not set")
    max_tokens: int = setting(64, "Longest answer in tokens")
    log_dir: str = setting("build/demo-logs", "Directory for one log file per process")
    once: bool = setting(False, "Stop after the answer instead of at Ctrl-C")


def run(arguments: Sequence[str]) -> int:
    """0 when the answer came over the disaggregated path, 1 when it did not; raises `Startup`."""
    parser = StrictParser(prog="pdmesh demo", description="Start a small mesh and ask it one question.")
    settings, _ = configuration.read(parser, DemoSettings, "demo", arguments)
    check_model(settings.model)
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
        """Whether the question was answered over the disaggregated path."""
        await self._is_up.wait()
        receipt = await asyncio.to_thread(ask, self._url, self._settings)
        if self._settings.once:
            self._mesh.stop.set()
        else:
            print(
                f"\nAsk it yourself: pdmesh chat --url {self._url} --receipt\nCtrl-C stops the mesh.",
                flush=True,
            )
        return receipt.get("path") == "disaggregated"


def ask(url: str, settings: DemoSettings) -> dict[str, Any]:
    """Ask, print question, answer and receipt; the receipt, empty when there was no answer."""
    question = settings.question or QUESTION
    print(f"\nQuestion\n{indent(question, MARGIN)}\n\nAnswer\n{MARGIN}", end="", flush=True)
    receipt: dict[str, Any] = {}
    try:
        for event in stream_events(f"{url}/v1/chat/completions", body(first_model(url), question, settings)):
            receipt = event.get("pdmesh") or receipt
            show(delta_text(event))
    except MeshError as error:
        print(f"[{error.reason}: {error.message}]", end="")
    print("\n\nReceipt", *receipt_lines(receipt), sep="\n", flush=True)
    return receipt


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
