"""What only the format of a response needs to know of the body."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from services.common.domain.record import record
from services.gateway.rest.responses.caller_tool import CallerTools
from services.gateway.rest.responses.items import Item


@record
class Asked:
    """`Generation.asked` of a call to /v1/responses."""

    caller_tools: CallerTools = field(default_factory=dict)
    carries_reasoning: bool = False
    """The client sends thoughts back, and wants them in one field."""
    repeated: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the body that the answer says again."""
    is_stored: bool = False
    """The caller may come back to the response."""
    conversation: Sequence[Item] = ()
    """What was said before, for a response that is stored."""
