"""What can be set on a simulated engine: `key=value` arguments, checked before anything starts."""

import dataclasses
import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from services.common.errors import BadSetting
from services.common.limits import DEFAULTS
from services.worker.engine.sim.faults import Faults
from services.worker.engine.sim.profile import PROFILES, Profile
from services.worker.engine.sim.profiles import find_times
from services.worker.engine.sim.scheduler import StepPlan
from services.worker.engine.sim.step_times import StepTimes

RUNNERS = ("auto", "generate", "pooling")
IGNORED = frozenset(
    {
        *("quantization", "gpu-memory-utilization", "speculative-config", "enforce-eager", "dtype"),
        "handoff-mode",
    }
)
"""Arguments of real engines that change nothing here; accepted so that one command line fits both."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes and limits; where vLLM has the same knob, it has vLLM's name."""

    kv_blocks: int = 4_096
    block_size: int = 16
    """Tokens per KV block."""
    max_model_len: int = 8_192
    max_num_seqs: int = 256
    max_num_batched_tokens: int = 8_192
    max_waiting_requests: int = 4_096
    """Jobs that may wait in the engine; more fail at once."""
    enable_prefix_caching: bool = True
    enable_chunked_prefill: bool = True
    runner: str = "auto"
    """"pooling" gives vectors instead of text."""
    tensor_parallel_size: int = 1
    kv_cache_dtype: str = "auto"
    load_ms: float = 0.0
    """Time that loading the model takes."""
    handoff_lease_ms: int = DEFAULTS.handoff_lease_ms
    """How long an offered KV is kept."""
    handoff_timeout_ms: int = 10_000
    """A pull that takes longer has failed."""
    role_is_fixed: bool = False
    """Refuse other roles' jobs, as an engine whose connector goes one way."""
    handoff_host: str = ""
    """Address on which offers are served; the worker's own choice where not set."""
    mean_output_tokens: float = 0.0
    """Mean length after which the model stops by itself; 0 is never."""
    vocab_size: int = 0
    """Token ids are below this; 0 takes the model's."""
    eos_token_id: int = -1
    """End-of-sequence; -1 takes the model's."""


@dataclass(frozen=True, slots=True)
class Options:
    """Everything that shapes a simulated engine."""

    shape: Shape = field(default_factory=Shape)
    profile: Profile = field(default_factory=Profile)
    faults: Faults = field(default_factory=Faults)
    times: StepTimes | None = None
    """Of a real engine, instead of the profile's roofline."""

    def step_duration_ms(self, plan: StepPlan) -> float:
        """How long a planned step takes."""
        decoding = len(plan.decoding)
        if self.times is None:
            return self.profile.step_duration_ms(prefill_tokens=plan.prefill_tokens, decoding=decoding)
        chunks = [(size, sequence.computed) for sequence, size in plan.chunks]
        context = sum(sequence.length for sequence in plan.decoding)
        return self.times.step_ms(chunks, decoding, context) * self.profile.time_scale

    @property
    def kv_block_size_bytes(self) -> int:
        """Bytes of one KV block."""
        return self.profile.kv_token_bytes * self.shape.block_size


def parse(engine_args: Iterable[str]) -> Options:
    """Options from `key=value` texts, for example `step-ms=20`; raises BadSetting.

    `profile=NAME` chooses a timing from `PROFILES`, whose numbers other keys then change, or the step times
    of a real engine: some come with pdmesh, others are files of one's own.
    """
    given = dict(_split(text) for text in engine_args)
    name = given.pop("profile", "small")
    times = None if name in PROFILES else find_times(name)
    profile, shape = PROFILES.get(name, PROFILES["small"]), Shape()
    if times is not None:
        profile = dataclasses.replace(profile, kv_token_bytes=times.kv_token_bytes)
        shape = dataclasses.replace(shape, kv_blocks=times.kv_blocks)
    parts: list[Any] = [shape, profile, Faults()]
    changes: list[dict[str, Any]] = [{} for _ in parts]
    for key, text in given.items():
        if key in IGNORED:
            continue
        index, name = _find(key, parts)
        changes[index][name] = _convert(key, text, getattr(parts[index], name))
    shape, profile, faults = (
        dataclasses.replace(part, **change) for part, change in zip(parts, changes, strict=True)
    )
    return _validated(Options(shape, profile, faults, times))


def _split(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    key = key.strip().removeprefix("--").replace("_", "-")
    if not separator:
        if key.startswith("no-"):
            return key.removeprefix("no-"), "false"
        return key, "true"
    return key, value.strip()


def _find(key: str, parts: list[Any]) -> tuple[int, str]:
    known = {
        f.name.replace("_", "-"): (i, f.name)
        for i, part in enumerate(parts)
        for f in dataclasses.fields(part)
    }
    if key not in known:
        nearest = difflib.get_close_matches(key, [*known, *IGNORED, "profile"], n=1, cutoff=0.0)
        raise BadSetting(f"unknown engine argument {key!r} for the sim engine; the nearest is {nearest[0]!r}")
    return known[key]


def _convert(key: str, text: str, default: Any) -> Any:
    try:
        if isinstance(default, bool):
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        return type(default)(text)
    except (ValueError, KeyError) as error:
        kind = "true or false" if isinstance(default, bool) else f"a value like {default!r}"
        raise BadSetting(f"engine argument {key}={text}: not {kind}") from error


def _validated(options: Options) -> Options:
    shape, profile, faults = options.shape, options.profile, options.faults
    if shape.runner not in RUNNERS:
        raise BadSetting(f"engine argument runner={shape.runner}: choose one of {', '.join(RUNNERS)}")
    for name in (
        "kv_blocks",
        "block_size",
        "max_model_len",
        "max_num_seqs",
        "max_num_batched_tokens",
        "handoff_lease_ms",
    ):
        if getattr(shape, name) < 1:
            raise BadSetting(
                f"engine argument {name.replace('_', '-')}={getattr(shape, name)}: must be at least 1"
            )
    for part in (profile, faults):
        for f in dataclasses.fields(part):
            if getattr(part, f.name) < 0:
                raise BadSetting(f"engine argument {f.name.replace('_', '-')}: must not be negative")
    if shape.kv_blocks * shape.block_size < shape.max_model_len:
        room = shape.kv_blocks * shape.block_size
        raise BadSetting(
            f"kv-blocks x block-size is room for {room} tokens, less than max-model-len={shape.max_model_len}"
        )
    if shape.max_num_batched_tokens < shape.max_num_seqs:
        raise BadSetting("max-num-batched-tokens must not be less than max-num-seqs")
    return options
