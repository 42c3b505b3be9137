"""KV-seconds: what a request costs of the memory that limits how many run at once."""

from services.common.domain import Receipt


def kv_seconds(receipt: Receipt) -> float:
    """Tokens in KV caches times the seconds that they were held.

    `prompt * (prefill + handoff + decode) + generated * decode / 2`: the prompt is held from its prefill to
    the end; the answer's tokens come evenly while it decodes, so each is held for half of that on average.
    What two workers hold during a handoff counts once; cached tokens count as others do, for they are held.
    """
    prompt_ms = receipt.prefill_ms + receipt.handoff_ms + receipt.decode_ms
    return (receipt.prompt_tokens * prompt_ms + receipt.generated_tokens * receipt.decode_ms / 2) / 1000.0
