"""The items of an answer's `output`."""

from typing import Any

from services.gateway.call.writers import Piece, TokenLikelihood, ToolCallDelta

DONE = "completed"
RUNNING = "in_progress"


def message(item_id: str, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    """What the model says."""
    return {"id": item_id, "type": "message", "role": "assistant", "status": status, "content": content}


def reasoning(item_id: str, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    """What it thinks before."""
    return {"id": item_id, "type": "reasoning", "status": status, "summary": [], "content": content}


def function_call(item_id: str, status: str, call: ToolCallDelta) -> dict[str, Any]:
    """A tool that it calls."""
    named = {"call_id": call.call_id, "name": call.name, "arguments": call.arguments}
    return {"id": item_id, "type": "function_call", "status": status, **named}


def text_part(text: str, logprobs: list[dict[str, Any]]) -> dict[str, Any]:
    """The content of a message."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


def reasoning_part(text: str) -> dict[str, Any]:
    """The content of reasoning."""
    return {"type": "reasoning_text", "text": text}


def logprobs_of(piece: Piece) -> list[dict[str, Any]]:
    """How likely the tokens of a piece were."""
    return [
        _likelihood(token) | {"top_logprobs": [_likelihood(other) for other in token.top]}
        for token in piece.logprobs
    ]


def whole(request_id: str, piece: Piece, status: str) -> list[dict[str, Any]]:
    """The output of an answer that comes whole; the last item has the answer's own status."""
    made = []
    if piece.reasoning:
        made.append(reasoning(f"rs_{request_id}", DONE, [reasoning_part(piece.reasoning)]))
    if piece.text or not piece.tool_calls:
        part = text_part(piece.text, logprobs_of(piece))
        made.append(message(f"msg_{request_id}", DONE, [part]))
    made += [function_call(f"fc_{request_id}_{call.index}", DONE, call) for call in piece.tool_calls]
    made[-1]["status"] = status
    return made


def _likelihood(token: TokenLikelihood) -> dict[str, Any]:
    return {"token": token.text, "logprob": token.logprob, "bytes": list(token.piece)}
