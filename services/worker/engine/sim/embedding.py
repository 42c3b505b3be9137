"""What the simulated pooling model gives: a vector of length 1, a pure function of the text."""

import math
from array import array
from hashlib import blake2b

from services.common.domain import EmbeddingModel
from services.common.domain.embedding import vector
from services.common.domain.tokens import from_bytes, to_bytes
from services.worker.engine.sim.blocks import adapter_key

NUMBERS_PER_DIGEST = 16


def expected_vector(
    prompt: "array[int]", model: EmbeddingModel, dimensions: int = 0, lora: str = ""
) -> "array[float]":
    """The vector of a text, from any sim engine of this model; a cut one begins in the same direction."""
    key = blake2b(to_bytes(prompt), digest_size=32, key=adapter_key(lora)).digest()
    size = dimensions or model.dimensions
    chunks = range(-(-size // NUMBERS_PER_DIGEST))
    digests = (blake2b(chunk.to_bytes(8, "little"), key=key).digest() for chunk in chunks)
    numbers = [word / 2**31 - 1.0 for word in from_bytes(b"".join(digests))[:size]]
    length = math.sqrt(sum(number * number for number in numbers))
    return vector(number / length for number in numbers)
