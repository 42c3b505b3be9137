"""`pdmesh calibrate`: learn a running mesh's step times."""

import http.client
import json
import statistics
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any

from services.cli import configuration
from services.cli.access import Access
from services.cli.chat import first_model, is_http, say
from services.cli.mesh_client import open_url
from services.common.errors import BadSetting, MeshError, RouterUnavailable
from services.common.settings import StrictParser, group, setting
from services.planner.calibration.anchors import Anchors, DecodeAnchor, PromptAnchor, calibrate

DESCRIPTION = """\
Learn how long a running mesh's engines take: requests of several lengths one after another, then several at
once, then least squares. The profile is for `pdmesh simulate --profile` and the sim engine's profile=FILE.
Other requests at the same time spoil it."""
TIMEOUT_S = 120.0
FIRST_TOKEN_ID = 5
KV_BLOCKS = 4_096


@dataclass(frozen=True, slots=True)
class CalibrateSettings:
    """Which mesh, and how much to ask of it."""

    url: str = setting("http://127.0.0.1:8000", "The mesh's REST API")
    access: Access = group(Access)
    model: str = setting("", "Model to ask; the mesh's first where not set")
    longest_prompt: int = setting(1_024, "Longest prompt to send, in tokens", least=64)
    most_at_once: int = setting(16, "Most requests at once", least=2, most=512)
    answer_tokens: int = setting(48, "Tokens of each answer", least=8)
    repeats: int = setting(3, "Times that each is measured; the median counts", least=1, most=100)
    kv_blocks: int = setting(
        KV_BLOCKS, "KV blocks of one engine, which a mesh's answers do not tell", least=1
    )
    name: str = setting("calibrated", "Name in the profile")

    def __post_init__(self) -> None:
        if not is_http(self.url):
            raise ValueError(f"--url: {self.url!r} is no http:// or https:// address")


def parser_of() -> StrictParser:
    """The command's parser, without its settings."""
    parser = StrictParser(prog="pdmesh calibrate", description=DESCRIPTION)
    parser.add_argument(
        "--out", metavar="FILE", help="Write the profile there; standard output where not set"
    )
    return parser


def run(arguments: Sequence[str]) -> int:
    """Measure, fit, write; 1 with one line when the mesh does not answer."""
    settings, options = configuration.read(parser_of(), CalibrateSettings, "calibrate", arguments)
    try:
        anchors = Driver(settings).measure()
    except MeshError as error:
        say(error)
        return 1
    made = calibrate(anchors, settings.name)
    text = made.times.rounded().to_json()
    if not options["out"]:
        print(text, end="")
        return 0
    try:
        Path(options["out"]).write_text(text, "utf-8")
    except OSError as error:
        raise BadSetting(f"--out: {options['out']}: {error.strerror}") from None
    print("\n".join(report(anchors, made.prompt_residual, made.decode_residual)))
    return 0


def report(anchors: Anchors, prompt_residual: float, decode_residual: float) -> Iterator[str]:
    """What was measured, and what the fit leaves over."""
    yield f"{'prompt, tokens':>15}{'ms':>10}"
    for prompt in anchors.prompts:
        yield f"{prompt.tokens:>15}{prompt.ms:>10.2f}"
    yield f"{'at once':>15}{'ms a token':>12}"
    for step in anchors.decoding:
        yield f"{step.sequences:>15}{step.step_ms:>12.2f}"
    yield (
        f"mean residual: prompts {prompt_residual:.1%}, decode steps {decode_residual:.1%}; a request takes "
        f"{anchors.front_ms:.1f} ms outside its engines"
    )


class Driver:
    """Sends requests whose prompts share nothing, and reads their receipts."""

    def __init__(self, settings: CalibrateSettings) -> None:
        self._settings = settings
        self._model = settings.model or first_model(settings.url, settings.access)
        self._numbers = count(1)

    def measure(self) -> Anchors:
        """All anchors; raises `MeshError`."""
        self._ask(32)  # the first request finds everything cold
        lengths = sorted({64, *(self._settings.longest_prompt // part for part in (8, 4, 2, 1))})
        lone = [[self._ask(length) for _ in range(self._settings.repeats)] for length in lengths]
        crowds = sorted({1, 2, self._settings.most_at_once // 2, self._settings.most_at_once})
        sizes = (lengths[0], lengths[-1] // 2)
        steps = [self._together(number, length) for length in sizes for number in crowds]
        front = [call["front_ms"] for calls in lone for call in calls]
        return Anchors(
            prompts=[
                PromptAnchor(length, statistics.median(call["prefill_ms"] for call in calls))
                for length, calls in zip(lengths, lone, strict=True)
            ],
            decoding=steps,
            front_ms=max(0.0, statistics.median(front)),
            kv_token_bytes=max(int(call["kv_token_bytes"]) for calls in lone for call in calls),
            kv_blocks=self._settings.kv_blocks,
        )

    def _together(self, number: int, length: int) -> DecodeAnchor:
        """Steps while so many decode at once."""
        step_ms = []
        with ThreadPoolExecutor(number) as pool:
            for _ in range(self._settings.repeats):
                calls = list(pool.map(self._ask, [length] * number))
                step_ms += [call["step_ms"] for call in calls]
        context = length + self._settings.answer_tokens / 2
        return DecodeAnchor(number, context, statistics.median(step_ms))

    def _ask(self, prompt_tokens: int) -> dict[str, float]:
        settings = self._settings
        number = next(self._numbers)
        prompt = [FIRST_TOKEN_ID + (number + i) % 97 for i in range(prompt_tokens)]
        prompt[0] = FIRST_TOKEN_ID + number % 997
        body = {
            "model": self._model,
            "prompt": prompt,
            "max_tokens": settings.answer_tokens,
            "min_tokens": settings.answer_tokens,
            "ignore_eos": True,
            "temperature": 0,
            "pdmesh": {"receipt": True},
        }
        began_s = monotonic()
        receipt = self._post(body)["pdmesh"]
        return _figures(receipt, (monotonic() - began_s) * 1e3)

    def _post(self, body: dict[str, Any]) -> dict[str, Any]:
        access = self._settings.access
        headers = {"Content-Type": "application/json", **access.headers()}
        url = f"{self._settings.url}/v1/completions"
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)
        with open_url(request, TIMEOUT_S, access.context()) as answer:
            try:
                found: dict[str, Any] = json.load(answer)
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise RouterUnavailable(f"no mesh answers at {url}: {error}") from None
        return found


def _figures(receipt: dict[str, Any], took_ms: float) -> dict[str, float]:
    """What one receipt tells, in milliseconds."""
    generated = max(2, int(receipt["generated_tokens"]))
    inside_ms = sum(receipt[name] for name in ("queue_ms", "prefill_ms", "handoff_ms", "decode_ms"))
    return {
        "prefill_ms": max(1e-3, float(receipt["prefill_ms"])),
        "step_ms": max(1e-3, float(receipt["decode_ms"]) / (generated - 1)),
        "front_ms": took_ms - inside_ms,
        "kv_token_bytes": receipt["kv_size_bytes"] / max(1, receipt["prompt_tokens"]),
    }
