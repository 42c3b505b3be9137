"""What stands where an exchange has its connection when nothing is sent to one."""

from collections.abc import Callable


class NoClient:
    """A `Client` that takes everything and does nothing."""

    date = ""
    is_draining = False

    def __init__(self) -> None:
        self.send: Callable[[bytes], None] = lambda _: None

    def exchange_ended(self, *, closes: bool) -> None:
        """Nothing follows."""

    def abort(self) -> None:
        """Nothing to cut."""
