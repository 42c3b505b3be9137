"""What a client sends when it goes on, and what it makes of what comes."""

import random

import pytest

from pdmesh.client import RetryPolicy, Unreachable
from pdmesh.client.course import Course
from pdmesh.client.prompt import tool_choice_to_wire
from pdmesh.client.retry import Retrier, RetryBudget
from pdmesh.client.sampling import Sampling, StructuredOutput
from pdmesh.inference.v1 import answer_pb2 as wire
from pdmesh.inference.v1 import inference_pb2
from pdmesh.types.v1 import types_pb2
from services.common.clock import ManualClock


def course() -> Course:
    policy = RetryPolicy()
    retrier = Retrier(policy, RetryBudget(policy), ManualClock(), random.Random(1), None)
    return Course(inference_pb2.ChatRequest(model="m"), retrier)


def message(*deltas: wire.Delta, **fields: object) -> inference_pb2.ChatResponse:
    return inference_pb2.ChatResponse(deltas=deltas, **fields)  # type: ignore[arg-type]


SUMMARY = wire.Summary(
    request_id="r",
    model="m-2",
    usage=wire.Usage(prompt_tokens=7, completion_tokens=3, cached_tokens=2),
    receipts=[types_pb2.Receipt(request_id="r", path=types_pb2.PATH_LOCAL, queue_ms=1.5)],
)


def test_the_next_attempt_names_what_came() -> None:
    on = course()
    on.take(message(wire.Delta(index=0, text="a", token_ids=[1, 2]), wire.Delta(index=1, token_ids=[9])))
    on.take(message(wire.Delta(index=0, text="b", token_ids=[3])))
    on.wait_ms(Unreachable())
    sent = {d.index: list(d.token_ids) for d in on.request().delivered}
    assert sent == {0: [1, 2, 3], 1: [9]}
    assert {d.index: list(d.token_ids) for d in on.request().delivered} == sent


def test_a_finished_choice_is_not_finished_twice() -> None:
    on = course()
    done = wire.Delta(index=0, token_ids=[1], finish_reason=wire.FINISH_REASON_STOP)
    assert [d.finish_reason for d in on.take(message(done))] == ["stop"]
    again = message(wire.Delta(index=0, finish_reason=wire.FINISH_REASON_STOP), wire.Delta(index=1, text="x"))
    assert [d.index for d in on.take(again)] == [1]


def test_an_answer_is_all_that_came() -> None:
    on = course()
    on.take(message(wire.Delta(index=1, text="B", token_ids=[5])))
    calls = [wire.ToolCallDelta(index=0, id="c1", name="f", arguments='{"a"')]
    on.take(message(wire.Delta(index=0, reasoning="hm", tool_calls=calls)))
    more = [wire.ToolCallDelta(index=0, arguments=":1}"), wire.ToolCallDelta(index=1, id="c2", name="g")]
    end = wire.FINISH_REASON_TOOL_CALLS
    on.take(message(wire.Delta(index=0, tool_calls=more, finish_reason=end)))
    with pytest.raises(RuntimeError):
        _ = on.answer
    on.take(message(summary=SUMMARY))
    answer = on.answer
    first, second = answer.choices
    assert [(c.id, c.name, c.arguments) for c in first.tool_calls] == [
        ("c1", "f", '{"a":1}'),
        ("c2", "g", ""),
    ]
    assert (first.reasoning, first.finish_reason, second.text, second.token_ids) == (
        "hm",
        "tool_calls",
        "B",
        [5],
    )
    assert (answer.model, answer.usage.cached_tokens, answer.retrieval) == ("m-2", 2, None)
    assert answer.receipts[0].queue_ms == 1.5


def test_logprobs_come_with_their_tokens() -> None:
    entry = wire.TokenLogprobs(
        chosen=wire.TokenLogprob(token_id=1, logprob=-0.5, text=b"\xf0"),
        top=[wire.TokenLogprob(token_id=2, logprob=-1.0, text=b"b")],
    )
    (delta,) = course().take(message(wire.Delta(token_ids=[1], logprobs=[entry])))
    (likely,) = delta.logprobs
    assert (likely.chosen.logprob, likely.chosen.text, likely.top[0].token_id) == (-0.5, b"\xf0", 2)


def test_a_stream_that_ends_early_is_a_broken_one() -> None:
    on = course()
    assert on.wait_ms(None) > 0
    assert not on.is_over


def test_what_is_not_said_is_absent_on_the_wire() -> None:
    bare = Sampling().to_wire()
    assert not bare.HasField("temperature")
    assert not bare.HasField("structured_output")
    said = Sampling(temperature=0.0, logprobs=0, structured_output=StructuredOutput(regex="a+")).to_wire()
    assert said.HasField("temperature")
    assert said.HasField("logprobs")
    assert said.structured_output.regex == "a+"


def test_tool_choices_are_modes_or_names() -> None:
    assert tool_choice_to_wire("") is None
    assert tool_choice_to_wire("required").WhichOneof("choice") == "mode"  # type: ignore[union-attr]
    assert tool_choice_to_wire("weather").function == "weather"  # type: ignore[union-attr]
