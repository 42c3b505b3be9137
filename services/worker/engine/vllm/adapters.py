"""LoRA adapters: what is known of them before vLLM is imported, and their form in vLLM's requests."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.common.errors import BadSetting, ModelMissing
from services.common.limits import DEFAULTS

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Those that vLLM makes room for; an adapter of another takes the next."""
IN_ONE_STEP_MAX = 4
"""Adapters that one step may mix unless set: each costs memory, and requests of a further one wait."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """One adapter on disk."""

    name: str
    number: int
    """vLLM's name for it, from 1."""
    path: str
    rank: int
    digest: str
    """The first 16 hex digits of the SHA-256 of its settings and weights."""

    def request(self) -> Any:
        """vLLM's LoRARequest."""
        from vllm.lora.request import LoRARequest

        return LoRARequest(self.name, self.number, self.path)


def read(named: Mapping[str, str]) -> dict[str, Adapter]:
    """All adapters by name, from their directories. Raises `ModelMissing` or `BadSetting`."""
    if len(named) > DEFAULTS.adapters_per_worker_max:
        raise BadSetting(f"{len(named)} LoRA adapters, at most {DEFAULTS.adapters_per_worker_max}")
    return {
        name: _read_one(name, number, Path(directory).expanduser())
        for number, (name, directory) in enumerate(named.items(), 1)
    }


def default_arguments(adapters: Iterable[Adapter], *, on_cpu: bool) -> dict[str, str]:
    """vLLM arguments that make room for them; what is given explicitly wins.

    On a CPU, one place more than there are adapters: vLLM's CPU kernels give requests without an adapter what
    stands in the last place, whenever they share a step with one that has an adapter. So it stays empty.
    """
    ranks = [adapter.rank for adapter in adapters]
    if not ranks:
        return {}
    return {
        "enable_lora": "true",
        "max_lora_rank": str(next((rank for rank in RANKS if rank >= max(ranks)), RANKS[-1])),
        "max_loras": str(len(ranks) + 1 if on_cpu else min(len(ranks), IN_ONE_STEP_MAX)),
        "max_cpu_loras": str(len(ranks) + on_cpu),
    }


def check_places(places: int, adapters: Iterable[Adapter], *, on_cpu: bool) -> None:
    """Raise `BadSetting` where requests without an adapter would get one (see `default_arguments`)."""
    needed = len(list(adapters)) + 1
    if on_cpu and needed > 1 and places < needed:
        raise BadSetting(f"--max-loras: at least {needed} on a CPU, one more than adapters; or leave it out")


def _read_one(name: str, number: int, directory: Path) -> Adapter:
    config = directory / "adapter_config.json"
    try:
        rank = int(json.loads(config.read_text())["r"])
    except OSError as error:
        raise ModelMissing(f"no LoRA adapter at {directory}: {config.name}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ModelMissing(f"{config} names no rank: {error!r}") from error
    weights = sorted(directory.glob("adapter_model.*"))
    if not weights:
        raise ModelMissing(f"no LoRA adapter at {directory}: no adapter_model file")
    return Adapter(name, number, str(directory), rank, _digest([config, *weights]))


def _digest(paths: Iterable[Path]) -> str:
    content = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            content.update(hashlib.file_digest(file, "sha256").digest())
    return content.hexdigest()[:16]
