"""`pdmesh dry-run`: where a request would go at the moment, and why. Nothing is sent to a worker."""

import random
from array import array

from pdmesh.operator.v1 import operator_pb2 as wire
from services.cli.operator.client import OperatorClient
from services.cli.operator.command import Command, Options, argument
from services.common.domain import Path
from services.common.domain.tokens import to_bytes, tokens
from services.common.errors import BadSetting

PROMPT_TOKENS_MAX = 1_000_000
TOKEN_IDS = 256
"""Made-up prompts are of ids below this, which every vocabulary has."""


async def _dry_run(client: OperatorClient, options: Options) -> int:
    answer = await client.dry_run(
        wire.DryRunRequest(
            model=options["model"] or await _first_model(client),
            prompt_token_ids=to_bytes(_made_up_prompt(options["prompt_tokens"])),
            max_tokens=options["max_tokens"],
            tenant=options["tenant"],
        )
    )
    print(told(answer))
    return 1 if answer.refusal_reason else 0


def told(answer: wire.DryRunResponse) -> str:
    """The answer in one line."""
    if answer.refusal_reason:
        return f"refused: {answer.refusal_reason}"
    path = f"{Path(answer.path).name.lower()} ({answer.path_reason})"
    if answer.waits_for:
        return f"{path}, waits for a {answer.waits_for} worker with room"
    return path + ": " + " -> ".join(filter(None, (answer.prefill_worker, answer.decode_worker)))


async def _first_model(client: OperatorClient) -> str:
    fleet = await client.fleet()
    if not fleet.tiers:
        raise BadSetting("no worker is attached, so --model is needed")
    return fleet.tiers[0].model


def _made_up_prompt(length: int) -> "array[int]":
    if not 1 <= length <= PROMPT_TOKENS_MAX:
        raise BadSetting(f"--prompt-tokens: {length} is not within 1 and {PROMPT_TOKENS_MAX}")
    draw = random.Random(length)
    return tokens(draw.randrange(TOKEN_IDS) for _ in range(length))


DRY_RUN = Command(
    "Tell where a request with a made-up prompt would go now. Nothing is sent to a worker.",
    _dry_run,
    [
        argument("--model", "Model; the first one served where not set", default=""),
        argument("--prompt-tokens", "Length of the prompt [500]", type=int, default=500),
        argument("--max-tokens", "Longest answer in tokens [256]", type=int, default=256),
        argument("--tenant", "Tenant that would ask", default=""),
    ],
)
