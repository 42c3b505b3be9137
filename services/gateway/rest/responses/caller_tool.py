"""A tool as its caller knows it; the model knows it as a function with one name."""

from collections.abc import Mapping

from services.common.domain.record import record
from services.gateway.rest.openai.messages import arguments_of

INPUT = "input"
"""The one argument of the function that a custom tool becomes."""
_BETWEEN = "__"


@record
class CallerTool:
    """Whose call comes back under the caller's own words."""

    name: str
    namespace: str = ""
    """The `namespace` that it is in; empty for none."""
    is_custom: bool = False
    """Its input is a text instead of arguments."""

    @property
    def flat_name(self) -> str:
        """The name of the function that the model calls."""
        return flat_name(self.name, self.namespace)


CallerTools = Mapping[str, CallerTool]
"""By the name of the function that the model calls."""


def flat_name(name: str, namespace: str | None) -> str:
    """One name for a tool within a namespace."""
    if not namespace:
        return name
    return namespace + name if namespace.endswith(_BETWEEN) else f"{namespace}{_BETWEEN}{name}"


def input_of(arguments: str) -> str:
    """The text for a custom tool; all of it where the model did not write the one argument."""
    given = arguments_of(arguments).get(INPUT)
    return given if isinstance(given, str) else arguments
