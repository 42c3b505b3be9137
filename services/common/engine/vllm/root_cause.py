"""Why an engine process did not start, told to the process that forked it."""

import contextlib
import logging
import os
from collections.abc import Iterator

_LINE_SIZE_BYTES_MAX = 2_048


class RootCause(logging.Handler):
    """Keeps the first exception that vLLM logs, on either side of a fork.

    vLLM tells its parent only that something failed, and logs the reason in the engine process. A pipe
    carries it over; a process that was not forked has no such handler, and then there is nothing to read.
    """

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._read_fd, False)

    def emit(self, record: logging.LogRecord) -> None:
        """Pass on the exception of a record that has one."""
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            line = f"{type(error).__name__}: {error}".splitlines()[0]
            os.write(self._write_fd, line.encode()[: _LINE_SIZE_BYTES_MAX - 1] + b"\n")

    def read(self) -> str:
        """The first reason, or nothing."""
        with contextlib.suppress(BlockingIOError):
            return os.read(self._read_fd, 8 * _LINE_SIZE_BYTES_MAX).decode(errors="replace").splitlines()[0]
        return ""

    def free(self) -> None:
        """Close the pipe. Not in `close`, which vLLM's engine process calls when it sets up its own log."""
        os.close(self._read_fd)
        os.close(self._write_fd)


@contextlib.contextmanager
def root_cause() -> Iterator[RootCause]:
    """Listen to the log of vLLM's engine process while it is started."""
    handler = RootCause()
    logger = logging.getLogger("vllm.v1.engine.core")
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        handler.free()
