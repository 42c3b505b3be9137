"""Seeds of requests whose prompt takes several steps, on a CPU.

vLLM samples after each part of a prompt, throws the token away and winds the request's generator back.
torch's CPU generators cannot be wound back, and vLLM's engine process dies of trying.
"""

import contextlib
from collections.abc import Iterator
from typing import Any


def spare_thrown_away_draws() -> None:
    """Let rows whose token is thrown away be sampled without their seed. Runs in vLLM's engine process."""
    from vllm.v1.worker.cpu_model_runner import CPUModelRunner

    stock = CPUModelRunner.sample_tokens

    def sample_tokens(runner: Any, *args: Any, **kwargs: Any) -> Any:
        batch = runner.input_batch
        thrown_away = runner.discard_request_mask.np[: batch.num_reqs].nonzero()[0].tolist()
        with _put_aside(batch.generators, thrown_away):
            return stock(runner, *args, **kwargs)

    CPUModelRunner.sample_tokens = sample_tokens


@contextlib.contextmanager
def _put_aside(generators: dict[int, Any], rows: list[int]) -> Iterator[None]:
    aside = {row: generators.pop(row) for row in rows if row in generators}
    try:
        yield
    finally:
        generators.update(aside)
