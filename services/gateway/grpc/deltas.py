"""Pieces of an answer as messages."""

from pdmesh.inference.v1 import answer_pb2, inference_pb2
from services.common.rpc.convert import receipt_to_wire, wire_enum
from services.gateway.call.writers import Ending, Piece
from services.gateway.call.writers.piece import TokenLikelihood
from services.gateway.links.streams import Placement

Response = inference_pb2.ChatResponse | inference_pb2.CompleteResponse | inference_pb2.GenerateResponse

_FINISH_REASONS = {
    "": answer_pb2.FINISH_REASON_UNSPECIFIED,
    "stop": answer_pb2.FINISH_REASON_STOP,
    "length": answer_pb2.FINISH_REASON_LENGTH,
    "tool_calls": answer_pb2.FINISH_REASON_TOOL_CALLS,
}


def delta_to_wire(choice: int, piece: Piece | None, finish_reason: str) -> answer_pb2.Delta:
    """What a choice gained, and whether that was its last."""
    wire = answer_pb2.Delta(index=choice, finish_reason=_FINISH_REASONS[finish_reason])
    if piece is None:
        return wire
    wire.text = piece.text
    wire.reasoning = piece.reasoning
    if piece.token_ids is not None:
        wire.token_ids.extend(piece.token_ids)
    for call in piece.tool_calls:
        wire.tool_calls.add(index=call.index, id=call.call_id, name=call.name, arguments=call.arguments)
    for entry in piece.logprobs:
        wire.logprobs.add(chosen=_likelihood(entry), top=[_likelihood(other) for other in entry.top])
    return wire


def placement_to_wire(placement: Placement) -> answer_pb2.Placement:
    """Where a request runs."""
    return answer_pb2.Placement(
        path=wire_enum(placement.path),
        reason=placement.reason,
        prefill_worker=placement.prefill_worker,
        decode_worker=placement.decode_worker,
    )


def summary_to_wire(request_id: str, model: str, ending: Ending) -> answer_pb2.Summary:
    """The end of a whole answer."""
    usage, looked_up = ending.usage, ending.extra.get("retrieval")
    return answer_pb2.Summary(
        request_id=request_id,
        model=model,
        usage=answer_pb2.Usage(
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cached_tokens=usage.cached_tokens,
        ),
        receipts=[receipt_to_wire(receipt) for receipt in ending.receipts],
        retrieval=None if looked_up is None else answer_pb2.RetrievalReport(**looked_up),
    )


def _likelihood(entry: TokenLikelihood) -> answer_pb2.TokenLogprob:
    return answer_pb2.TokenLogprob(token_id=entry.token_id, logprob=entry.logprob, text=entry.piece)
