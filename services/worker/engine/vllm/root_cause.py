"""Why an engine process did not start, told to the process that forked it."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator

_LINE_SIZE_BYTES_MAX = 2_048
_START_FAILED = "EngineCore failed to start."


class RootCause(logging.Filter):
    """Takes the exception that vLLM's engine process logs before it ends, and passes it to the parent.

    vLLM tells its parent only that something failed, and prints the reason twice with its traceback. A pipe
    carries the reason over instead; both tracebacks appear only where the log level is below ERROR. A process
    that was not forked has no such filter, and then there is nothing to read. It is a filter and no handler,
    because vLLM clears handlers when it sets up its log.
    """

    def __init__(self) -> None:
        super().__init__()
        self._parent = os.getpid()
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._read_fd, False)

    def filter(self, record: logging.LogRecord) -> bool:
        """Pass on the reason of a failed start; whether to log it too."""
        if record.msg != _START_FAILED or record.exc_info is None or record.exc_info[1] is None:
            return True
        error = record.exc_info[1]
        line = f"{type(error).__name__}: {error}".splitlines()[0]
        os.write(self._write_fd, line.encode()[: _LINE_SIZE_BYTES_MAX - 1] + b"\n")
        if logging.getLogger("vllm").getEffectiveLevel() < logging.ERROR or os.getpid() == self._parent:
            return True
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for the last moments of this process
        return False

    def read(self) -> str:
        """The first reason, or nothing."""
        with contextlib.suppress(BlockingIOError):
            return os.read(self._read_fd, 8 * _LINE_SIZE_BYTES_MAX).decode(errors="replace").splitlines()[0]
        return ""

    def free(self) -> None:
        """Close the pipe."""
        os.close(self._read_fd)
        os.close(self._write_fd)


@contextlib.contextmanager
def root_cause() -> Iterator[RootCause]:
    """Listen to the log of vLLM's engine process while it is started."""
    listener = RootCause()
    logger = logging.getLogger("vllm.v1.engine.core")
    logger.addFilter(listener)
    try:
        yield listener
    finally:
        logger.removeFilter(listener)
        listener.free()
