"""A timing model of an engine: deterministic tokens, real KV accounting, handoffs between real processes."""

from collections.abc import Mapping
from hashlib import sha256

from services.common.domain import Fingerprint, Role
from services.worker.engine.interface import Engine
from services.worker.engine.sim.continuation import Vocabulary, expected_tokens
from services.worker.engine.sim.embedding import expected_vector
from services.worker.engine.sim.engine import VERSION, SimEngine
from services.worker.engine.sim.faults import Faults
from services.worker.engine.sim.likelihood import describe
from services.worker.engine.sim.model import embedding_model, model_digest, vocabulary, vocabulary_size
from services.worker.engine.sim.options import Options, Shape, parse
from services.worker.engine.sim.profile import PROFILES, Profile
from services.worker.engine.sim.structure import Structures, example

__all__ = [
    "PROFILES",
    "Faults",
    "Options",
    "Profile",
    "Shape",
    "SimEngine",
    "Vocabulary",
    "create",
    "describe",
    "embedding_model",
    "example",
    "expected_tokens",
    "expected_vector",
    "vocabulary",
]


def create(
    model: str,
    served_model_name: str,
    role: Role,
    engine_args: tuple[str, ...],
    adapters: Mapping[str, str] | None = None,
) -> Engine:
    """A simulated engine from `key=value` arguments; raises BadSetting or ModelMissing.

    `adapters` are LoRA adapters by name, each with its directory; here the name alone makes the difference.
    """
    options = parse(engine_args)
    shape = options.shape
    fingerprint = Fingerprint(
        model=served_model_name,
        model_digest=model_digest(model),
        dtype="sim",
        kv_dtype=shape.kv_cache_dtype,
        block_size_tokens=shape.block_size,
        tensor_parallel_size=shape.tensor_parallel_size,
        engine="sim",
        engine_version=VERSION,
        connector="sim-tcp",
    )
    words = vocabulary(model, vocab_size=shape.vocab_size, eos_token_id=shape.eos_token_id)
    named = {name: sha256(name.encode()).hexdigest()[:16] for name in adapters or {}}
    return SimEngine(
        fingerprint,
        role,
        options,
        words,
        structures=Structures(model),
        adapters=named,
        vocabulary_size=shape.vocab_size or vocabulary_size(model),
        embedding_model=embedding_model(model) if shape.runner == "pooling" else None,
    )
