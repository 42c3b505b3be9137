"""`pdmesh threshold` and `pdmesh forgive`: orders about the mesh as a whole."""

from pdmesh.operator.v1 import operator_pb2 as wire
from services.cli.operator.client import OperatorClient
from services.cli.operator.command import Command, Options, argument
from services.common.errors import BadSetting

TOKENS_MAX = 2**32 - 1


async def _set_threshold(client: OperatorClient, options: Options) -> int:
    tokens = options["tokens"]
    if not 0 <= tokens <= TOKENS_MAX:
        raise BadSetting(f"a threshold is 0 to {TOKENS_MAX} tokens, not {tokens}")
    await client.order(wire.SetLocalThresholdRequest(local_prompt_tokens_max=tokens))
    print(f"prompts of up to {tokens} tokens take the local path, until the router restarts")
    return 0


async def _forgive(client: OperatorClient, _options: Options) -> int:
    forgiven = await client.forgive()
    print(f"forgiven: {forgiven.prompts} quarantined prompts, {forgiven.pairs} suspended pairs")
    return 0


THRESHOLD = Command(
    "Set the prompt length up to which the decode worker runs the prompt itself. 0 hands over every prompt.",
    _set_threshold,
    [argument("tokens", "Uncached prompt tokens", type=int)],
)
FORGIVE = Command(
    "Take quarantined prompts again, let suspended workers and pairs try again, and forget expired leases.",
    _forgive,
)
