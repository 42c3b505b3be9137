"""The items of an answer's `output`."""

from typing import Any

from services.gateway.call.writers import Piece, TokenLikelihood, ToolCallDelta
from services.gateway.rest.openai.packed_thought import pack
from services.gateway.rest.responses.asked import Asked
from services.gateway.rest.responses.caller_tool import CallerTool, input_of

DONE = "completed"
RUNNING = "in_progress"


def message(item_id: str, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    """What the model says."""
    return {"id": item_id, "type": "message", "role": "assistant", "status": status, "content": content}


def reasoning(
    item_id: str, status: str, content: list[dict[str, Any]], *, carried: str | None = None
) -> dict[str, Any]:
    """What it thinks before; `carried` is the same for a client that only sends it back."""
    said = {"summary": [], "content": content, "encrypted_content": carried}
    return {"id": item_id, "type": "reasoning", "status": status, **said}


def tool_call(item_id: str, status: str, call: ToolCallDelta, tool: CallerTool) -> dict[str, Any]:
    """A tool that it calls, in the caller's own words."""
    named = {"id": item_id, "status": status, "call_id": call.call_id, "name": tool.name}
    if tool.namespace:
        named["namespace"] = tool.namespace
    if tool.is_custom:
        text = input_of(call.arguments) if call.arguments else ""
        return {"type": "custom_tool_call", "input": text, **named}
    return {"type": "function_call", "arguments": call.arguments, **named}


def call_prefix(tool: CallerTool) -> str:
    """How the ids of its calls begin."""
    return "ctc" if tool.is_custom else "fc"


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


def whole(request_id: str, piece: Piece, status: str, asked: Asked) -> list[dict[str, Any]]:
    """The output of an answer that comes whole; the last item has the answer's own status."""
    made = []
    if piece.reasoning:
        carried = pack(piece.reasoning) if asked.carries_reasoning else None
        part = reasoning_part(piece.reasoning)
        made.append(reasoning(f"rs_{request_id}", DONE, [part], carried=carried))
    if piece.text or not (piece.tool_calls or piece.reasoning):
        part = text_part(piece.text, logprobs_of(piece))
        made.append(message(f"msg_{request_id}", DONE, [part]))
    for call in piece.tool_calls:
        tool = asked.caller_tools.get(call.name) or CallerTool(call.name)
        made.append(tool_call(f"{call_prefix(tool)}_{request_id}_{call.index}", DONE, call, tool))
    made[-1]["status"] = status
    return made


def _likelihood(token: TokenLikelihood) -> dict[str, Any]:
    return {"token": token.text, "logprob": token.logprob, "bytes": list(token.piece)}
