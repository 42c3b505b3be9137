"""What can be set on a vLLM engine: the common arguments by name, all others as `key=value`."""

import dataclasses
import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from services.common.errors import BadSetting
from services.common.limits import DEFAULTS

OWNED = {
    "model": "--model",
    "served_model_name": "--served-model-name",
    "kv_transfer_config": "the worker's role",
    "kv_events_config": "the worker",
    "worker_extension_cls": "the worker",
    "disable_log_stats": "the worker",
    "skip_tokenizer_init": "the worker",
    "data_parallel_size": "--prefill and --decode, one worker for each replica",
}
"""vLLM arguments that the mesh sets itself, and what to use instead."""

HANDOFF_MODE = "handoff_mode"
"""An argument that vLLM does not know: which side moves the KV."""
MODES = ("pull", "push")
_OWN = (
    *("passthrough", "log_level"),
    *("handoff_lease_ms", "handoff_margin_ms", "grammar_burst_ms", "grammar_token_ms"),
)


@dataclass(frozen=True, slots=True)
class EngineArguments:
    """Arguments of one tier's engines; `None` leaves the choice to vLLM."""

    tensor_parallel_size: int = 1
    quantization: str | None = None
    dtype: str = "auto"
    kv_cache_dtype: str = "auto"
    max_model_len: int | None = None
    max_num_batched_tokens: int | None = None
    max_num_seqs: int | None = None
    block_size: int | None = None
    gpu_memory_utilization: float | None = None
    kv_cache_memory_bytes: int | None = None
    enable_prefix_caching: bool | None = None
    enable_chunked_prefill: bool | None = None
    speculative_config: str | None = None
    """JSON, as vLLM takes it."""
    enforce_eager: bool | None = None
    seed: int | None = None
    passthrough: tuple[str, ...] = ()
    """Further arguments as `key=value`; dashes and underscores are the same. They win over the named ones."""
    handoff_lease_ms: int = DEFAULTS.handoff_lease_ms
    """How long offered KV is kept for a decode worker."""
    handoff_margin_ms: int = DEFAULTS.handoff_margin_ms
    """A pull that has begun in time must end within this time after the ticket's expiry."""
    grammar_burst_ms: int = DEFAULTS.grammar_burst_ms
    """Processor time that one answer's grammar may take, beside `grammar_token_ms` for each token."""
    grammar_token_ms: int = DEFAULTS.grammar_token_ms
    log_level: str = "ERROR"
    """vLLM's own logging, whose warnings at start say nothing that an operator could act upon; the variable
    VLLM_LOGGING_LEVEL wins."""

    def check_syntax(self) -> None:
        """Raise `BadSetting` for what is wrong whatever vLLM knows."""
        if self.handoff_lease_ms < 1_000:
            raise BadSetting(f"handoff_lease_ms is {self.handoff_lease_ms}, the least is 1000")
        if self.handoff_mode not in MODES:
            raise BadSetting(
                f"engine argument handoff-mode is {' or '.join(MODES)}, not {self.handoff_mode!r}"
            )
        for name in _passed(self.passthrough):
            if name in OWNED:
                raise BadSetting(f"engine argument {name} is set by {OWNED[name]}")

    def settings(self) -> dict[str, str]:
        """vLLM argument -> its value as text, without those left to vLLM."""
        named = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in _OWN}
        given = {name: str(value) for name, value in named.items() if value is not None}
        passed = _passed(self.passthrough)
        passed.pop(HANDOFF_MODE, None)
        return given | passed

    @property
    def ranks(self) -> int:
        """Processes that share one model."""
        given = self.settings()
        return int(given["tensor_parallel_size"]) * int(given.get("pipeline_parallel_size", 1))

    @property
    def handoff_mode(self) -> str:
        """ "pull": decode workers read; "push": prefill workers write."""
        return _passed(self.passthrough).get(HANDOFF_MODE, MODES[0])


def _passed(passthrough: Iterable[str]) -> dict[str, str]:
    return dict(_split(item) for item in passthrough)


def _split(item: str) -> tuple[str, str]:
    name, equals, value = item.partition("=")
    name = name.strip().lstrip("-").replace("-", "_")
    if not equals or not name:
        raise BadSetting(f"engine argument {item!r} is not of the form key=value")
    return name, value.strip()


def parse(settings: dict[str, str]) -> Any:
    """vLLM's `AsyncEngineArgs` from text, by vLLM's own parser. Imports vLLM, loads no model.

    Raises `BadSetting` with one line: an unknown name with the nearest known one, or a value of a wrong type.
    """
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    class Parser(FlexibleArgumentParser):  # type: ignore[misc]
        """vLLM's parser, raising instead of ending the process."""

        def error(self, message: str) -> NoReturn:
            raise BadSetting(f"engine {message.splitlines()[0]}")

    known = {f.name for f in dataclasses.fields(AsyncEngineArgs)}
    for name in settings:
        _require_known(name, known)
    parser = Parser(prog="engine", add_help=False, allow_abbrev=False)
    AsyncEngineArgs.add_cli_args(parser)
    switches = {a.dest: a.option_strings for a in parser._actions if a.nargs == 0}
    return AsyncEngineArgs.from_cli_args(parser.parse_args(list(_flags(settings, switches))))


def _require_known(name: str, known: set[str]) -> None:
    if name in known:
        return
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f", did you mean {near[0].replace('_', '-')}?" if near else ""
    raise BadSetting(f"unknown engine argument {name.replace('_', '-')}{hint}")


def _flags(settings: dict[str, str], switches: dict[str, Sequence[str]]) -> Iterator[str]:
    for name, value in settings.items():
        dashed = name.replace("_", "-")
        if name not in switches:
            yield f"--{dashed}={value}"
        elif _truth(dashed, value):
            yield f"--{dashed}"
        elif f"--no-{dashed}" in switches[name]:
            yield f"--no-{dashed}"


def _truth(dashed: str, value: str) -> bool:
    match value.lower():
        case "true" | "1" | "yes" | "on":
            return True
        case "false" | "0" | "no" | "off":
            return False
    raise BadSetting(f"engine argument {dashed} is true or false, not {value!r}")
