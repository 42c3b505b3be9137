"""Conversations, tools, and passages to look up."""

from collections.abc import Sequence
from dataclasses import dataclass

from pdmesh.inference.v1 import prompt_pb2

MODES = {
    "auto": prompt_pb2.ToolChoice.MODE_AUTO,
    "none": prompt_pb2.ToolChoice.MODE_NONE,
    "required": prompt_pb2.ToolChoice.MODE_REQUIRED,
}


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function that the model called; `arguments` is JSON."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation. `role` is system, developer, user, assistant or tool."""

    role: str
    content: str = ""
    name: str = ""
    tool_call_id: str = ""
    """Which call a "tool" message answers."""
    tool_calls: Sequence[ToolCall] = ()

    def to_wire(self) -> prompt_pb2.Message:
        """The message on the wire."""
        calls = [prompt_pb2.ToolCall(id=c.id, name=c.name, arguments=c.arguments) for c in self.tool_calls]
        return prompt_pb2.Message(
            role=self.role,
            content=self.content,
            name=self.name,
            tool_call_id=self.tool_call_id,
            tool_calls=calls,
        )


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call; `parameters` is a JSON Schema as JSON."""

    name: str
    description: str = ""
    parameters: str = "{}"

    def to_wire(self) -> prompt_pb2.Tool:
        """The message on the wire."""
        return prompt_pb2.Tool(name=self.name, description=self.description, parameters=self.parameters)


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Passages to look up and put before the prompt; zeros and "" leave it to the server.

    When they cannot be had, the call goes on without them and the answer's `retrieval` says so, unless they
    are `required`.
    """

    collection: str = ""
    query: str = ""
    passages_max: int = 0
    tokens_max: int = 0
    required: bool = False

    def to_wire(self) -> prompt_pb2.Retrieval:
        """The message on the wire."""
        return prompt_pb2.Retrieval(
            collection=self.collection,
            query=self.query,
            passages_max=self.passages_max,
            tokens_max=self.tokens_max,
            required=self.required,
        )


def messages_to_wire(messages: str | Sequence[Message]) -> list[prompt_pb2.Message]:
    """A conversation; a bare text is what its user says."""
    if isinstance(messages, str):
        messages = [Message("user", messages)]
    return [message.to_wire() for message in messages]


def tool_choice_to_wire(choice: str) -> prompt_pb2.ToolChoice | None:
    """ "auto", "none", "required" or a function's name; "" leaves it open."""
    if not choice:
        return None
    if choice in MODES:
        return prompt_pb2.ToolChoice(mode=MODES[choice])
    return prompt_pb2.ToolChoice(function=choice)
