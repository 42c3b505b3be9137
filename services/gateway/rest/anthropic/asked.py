"""What only the format of a message's answer needs to know of the body."""

from services.common.domain.record import record


@record
class Asked:
    """`Generation.asked` of a call to /v1/messages."""

    omits_thinking: bool = False
    """Thoughts are not shown; the client carries them in their block's signature."""
