"""Engine arguments against what this vLLM knows; no model is loaded."""

import warnings

import pytest

from services.common.errors import BadSetting
from services.worker.engine.vllm.arguments import EngineArguments, parse

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(200)]


@pytest.fixture(scope="module", autouse=True)
def vllm_imported() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parse({"model": "nowhere"})


def parsed(**arguments: object) -> object:
    return parse(EngineArguments(**arguments).settings() | {"model": "nowhere"})  # type: ignore[arg-type]


def test_every_named_argument_is_one_of_vllms_and_gets_its_type() -> None:
    args = parsed(
        tensor_parallel_size=2,
        quantization="fp8",
        dtype="bfloat16",
        kv_cache_dtype="fp8",
        max_model_len=2048,
        max_num_batched_tokens=512,
        max_num_seqs=4,
        block_size=64,
        gpu_memory_utilization=0.5,
        kv_cache_memory_bytes=1 << 20,
        enable_prefix_caching=False,
        enable_chunked_prefill=True,
        speculative_config='{"method": "ngram", "num_speculative_tokens": 2}',
        enforce_eager=True,
        seed=3,
    )
    assert args.tensor_parallel_size == 2  # type: ignore[attr-defined]
    assert args.enable_prefix_caching is False  # type: ignore[attr-defined]
    assert args.enable_chunked_prefill is args.enforce_eager is True  # type: ignore[attr-defined]
    assert args.speculative_config["method"] == "ngram"  # type: ignore[attr-defined]
    assert args.gpu_memory_utilization == 0.5  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ("max-num-seq=4", "unknown engine argument max-num-seq, did you mean max-num-seqs?"),
        ("zzzzzz=4", "unknown engine argument zzzzzz"),
        ("max-num-seqs=four", "--max-num-seqs: invalid int value: 'four'"),
        ("dtype=float99", "--dtype: invalid choice: 'float99'"),
        ("enforce-eager=perhaps", "enforce-eager is true or false, not 'perhaps'"),
        ("speculative-config={", "speculative-config"),
    ],
)
def test_what_vllm_does_not_know_is_refused_in_one_line(item: str, words: str) -> None:
    with pytest.raises(BadSetting) as caught:
        parsed(passthrough=(item,))
    assert words in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("connector", ["NixlConnector", "NixlPushConnector"])
def test_a_connector_may_still_go_both_ways(connector: str) -> None:
    """Role flips, spares of either role and the role "both" rest on `kv_both`, which vLLM has announced to
    remove. When this fails, a worker's role is a fact of its start, and changing it needs another way."""
    from vllm.config import KVTransferConfig

    both = KVTransferConfig(kv_connector=connector, kv_role="kv_both", engine_id="e")
    assert both.is_kv_producer
    assert both.is_kv_consumer


def test_both_sides_take_the_direction_of_handoffs() -> None:
    assert EngineArguments().handoff_mode == "pull"
    pushing = EngineArguments(passthrough=("handoff-mode=push", "max-num-seqs=4"))
    pushing.check_syntax()
    assert (pushing.handoff_mode, parse(pushing.settings() | {"model": "nowhere"}).max_num_seqs) == (
        "push",
        4,
    )
    with pytest.raises(BadSetting, match="pull or push"):
        EngineArguments(passthrough=("handoff-mode=sideways",)).check_syntax()
