"""What comes back: deltas while the answer grows, the whole of it at the end."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

from pdmesh.client.prompt import ToolCall
from pdmesh.inference.v1 import answer_pb2, inference_pb2
from services.common.domain import Receipt
from services.common.rpc.convert import receipt_from_wire

FinishReason = Literal["stop", "length", "tool_calls"]
Response = inference_pb2.ChatResponse | inference_pb2.CompleteResponse | inference_pb2.GenerateResponse

_FINISH_REASONS: dict[int, FinishReason] = {
    answer_pb2.FINISH_REASON_STOP: "stop",
    answer_pb2.FINISH_REASON_LENGTH: "length",
    answer_pb2.FINISH_REASON_TOOL_CALLS: "tool_calls",
}


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One token's log probability; `text` may be a part of a character."""

    token_id: int
    logprob: float
    text: bytes


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """The chosen token, and the likely ones in its place."""

    chosen: TokenLogprob
    top: Sequence[TokenLogprob]


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of a tool call; `id` and `name` come with its first piece."""

    index: int
    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Delta:
    """What one choice gained. `generate` gives token ids and no text."""

    index: int
    text: str
    token_ids: Sequence[int]
    reasoning: str
    tool_calls: Sequence[ToolCallDelta]
    logprobs: Sequence[TokenLogprobs]
    finish_reason: FinishReason | None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of the whole call."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage that was put before the prompt."""

    id: str
    source: str
    score: float


@dataclass(frozen=True, slots=True)
class RetrievalReport:
    """How looking passages up went: `status` is "ok", "empty", or why there are none."""

    status: str
    prompt_tokens: int
    took_ms: float
    passages: Sequence[Passage]


@dataclass(slots=True)
class Choice:
    """One answer to the prompt, as far as it has come."""

    index: int
    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    reasoning: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    finish_reason: FinishReason | None = None

    @property
    def is_resumable(self) -> bool:
        """Whether another gateway can go on after it: what it says is known by its tokens."""
        return bool(self.token_ids) or not (self.text or self.reasoning or self.tool_calls)

    def add(self, delta: Delta) -> None:
        """Append what it gained."""
        self.text += delta.text
        self.token_ids.extend(delta.token_ids)
        self.reasoning += delta.reasoning
        self.logprobs.extend(delta.logprobs)
        self.finish_reason = delta.finish_reason or self.finish_reason
        for piece in delta.tool_calls:
            self._add_call(piece)

    def _add_call(self, piece: ToolCallDelta) -> None:
        while len(self.tool_calls) <= piece.index:
            self.tool_calls.append(ToolCall("", "", ""))
        call = self.tool_calls[piece.index]
        self.tool_calls[piece.index] = ToolCall(
            call.id or piece.id, call.name or piece.name, call.arguments + piece.arguments
        )


@dataclass(slots=True)
class Answer:
    """A whole answer; `receipts` tell what the mesh did for each choice."""

    choices: list[Choice]
    request_id: str
    model: str
    usage: Usage
    receipts: Sequence[Receipt]
    retrieval: RetrievalReport | None

    @property
    def text(self) -> str:
        """The first choice's text."""
        return self.choices[0].text if self.choices else ""


def deltas_of(response: Response) -> list[Delta]:
    """The deltas of one message."""
    return [_delta(wire) for wire in response.deltas]


def answer_of(choices: Iterable[Choice], summary: answer_pb2.Summary) -> Answer:
    """The whole answer."""
    usage, report = summary.usage, summary.retrieval
    return Answer(
        choices=sorted(choices, key=lambda choice: choice.index),
        request_id=summary.request_id,
        model=summary.model,
        usage=Usage(usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens),
        receipts=[receipt_from_wire(receipt) for receipt in summary.receipts],
        retrieval=_report(report) if summary.HasField("retrieval") else None,
    )


def _delta(wire: answer_pb2.Delta) -> Delta:
    calls = wire.tool_calls
    return Delta(
        index=wire.index,
        text=wire.text,
        token_ids=tuple(wire.token_ids),
        reasoning=wire.reasoning,
        tool_calls=[ToolCallDelta(c.index, c.id, c.name, c.arguments) for c in calls] if calls else (),
        logprobs=[_logprobs(entry) for entry in wire.logprobs] if wire.logprobs else (),
        finish_reason=_FINISH_REASONS.get(cast(int, wire.finish_reason)),
    )


def _logprobs(wire: answer_pb2.TokenLogprobs) -> TokenLogprobs:
    return TokenLogprobs(_logprob(wire.chosen), [_logprob(entry) for entry in wire.top])


def _logprob(wire: answer_pb2.TokenLogprob) -> TokenLogprob:
    return TokenLogprob(wire.token_id, wire.logprob, wire.text)


def _report(wire: answer_pb2.RetrievalReport) -> RetrievalReport:
    passages = [Passage(p.id, p.source, p.score) for p in wire.passages]
    return RetrievalReport(wire.status, wire.prompt_tokens, wire.took_ms, passages)
