"""Commands that documentation shows must exist."""

import contextlib
import importlib
import re
import shlex
from collections.abc import Iterator

from services.cli.chat import ChatSettings
from services.cli.demo import DemoSettings
from services.cli.history.search import RequestsSettings
from services.cli.history.search import parser_of as requests_parser
from services.cli.history.story import WhySettings
from services.cli.ingest import IngestSettings
from services.cli.main import COMMANDS, OPERATOR_COMMANDS
from services.cli.operator.commands import parser_of
from services.cli.operator.settings import OperatorSettings
from services.cli.planner.advise import AdviseSettings
from services.cli.planner.advise import parser_of as advise_parser
from services.cli.planner.calibrate import CalibrateSettings
from services.cli.planner.calibrate import parser_of as calibrate_parser
from services.cli.planner.plan import PlanSettings
from services.cli.planner.plan import parser_of as plan_parser
from services.cli.planner.simulate import SimulateSettings
from services.cli.planner.simulate import parser_of as simulate_parser
from services.cli.serve import EDGE, SERVED, with_process
from services.cli.serve import parser_of as serve_parser
from services.cli.up_settings import UpSettings
from services.cli.usage import UsageSettings
from services.cli.usage import parser_of as usage_parser
from services.common.settings import flags_of, leaves

SETTINGS = {
    "up": UpSettings,
    "chat": ChatSettings,
    "demo": DemoSettings,
    "ingest": IngestSettings,
    "usage": UsageSettings,
    "simulate": SimulateSettings,
    "plan": PlanSettings,
    "requests": RequestsSettings,
    "why": WhySettings,
    "calibrate": CalibrateSettings,
    "advise": AdviseSettings,
}
PARSERS = {
    "usage": usage_parser,
    "simulate": simulate_parser,
    "plan": plan_parser,
    "requests": requests_parser,
    "advise": advise_parser,
    "calibrate": calibrate_parser,
}
"""Of commands that have flags beside their settings."""

FENCE = re.compile(r"^```(?:sh|bash|console|)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:make|pdmesh) [^`\n]+)`")


def shown(markdown: str) -> Iterator[list[str]]:
    """Words of each `make` or `pdmesh` command in a page's code."""
    fenced = "\n".join(FENCE.findall(markdown)).replace("\\\n", " ")
    for line in [*fenced.splitlines(), *INLINE.findall(markdown)]:
        with contextlib.suppress(ValueError):
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words and words[0] in ("make", "pdmesh"):
                yield words


def make_targets(makefile: str) -> set[str]:
    """Targets that `make help` lists."""
    return set(re.findall(r"^([a-z0-9-]+):.*## ", makefile, re.MULTILINE))


def violations(path: str, markdown: str, makefile: str) -> list[str]:
    """One line for each command that does not exist or has a flag that does not."""
    targets = make_targets(makefile)
    wrong = []
    for words in shown(markdown):
        why = _make_fault(words, targets) if words[0] == "make" else _pdmesh_fault(words)
        if why:
            wrong.append(f"{path}: `{' '.join(words)}`: {why}")
    return wrong


def _make_fault(words: list[str], targets: set[str]) -> str:
    missing = [word for word in words[1:] if "=" not in word and word not in targets]
    return f"no target {missing[0]}" if missing else ""


def _pdmesh_fault(words: list[str]) -> str:
    if len(words) < 2 or words[1] not in COMMANDS:
        return "no such command"
    if words[1:3] == ["serve", EDGE]:  # the flags of two services
        at = words.index("--") if "--" in words else len(words)
        gateway, router = words[3:at], words[at + 1 :]
        return _fault(["serve", "gateway", *gateway]) or _fault(["serve", "router", *router])
    return _fault(words[1:])


def _fault(words: list[str]) -> str:
    """What is wrong with a command that exists and its flags; empty for nothing."""
    known = _flags(words)
    if known is None:
        return "no such service"
    used = [word.partition("=")[0] for word in words[1:] if word.startswith("--")]
    missing = [flag for flag in used if flag not in known]
    return f"no flag {missing[0]}" if missing else ""


def _flags(words: list[str]) -> set[str] | None:
    """Flags of a command; None when it names a service that there is not."""
    if words[0] == "serve":
        service = words[1] if len(words) > 1 else ""
        if service not in SERVED:
            return None
        cls = with_process(importlib.import_module(f"services.{service}.settings").Settings)
    elif words[0] in ("version", "key"):
        return {"--help"}
    elif words[0] in OPERATOR_COMMANDS:
        common = {leaf.flag for leaf in leaves(OperatorSettings)}
        return common | set(flags_of(parser_of(words[0]))) | {"--config"}
    else:
        cls = SETTINGS[words[0]]
    names = {leaf.flag for leaf in leaves(cls)}
    if words[0] == "serve":
        names |= set(flags_of(serve_parser(words[1])))
    if words[0] in PARSERS:
        names |= set(flags_of(PARSERS[words[0]]()))
    negated = {"--no-" + leaf.flag[2:] for leaf in leaves(cls) if leaf.kind is bool}
    return names | negated | {"--config", "--help"}
