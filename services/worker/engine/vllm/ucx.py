"""What UCX says of itself: by which transport it reads from a peer, and why it cannot.

UCX says both in its log alone. So the log of each engine process is a file of its own, which is read after
the first pull from a peer and after a failure. It has no name any more then, so it ends with the process.
"""

import contextlib
import ctypes
import os
import re
import tempfile
from pathlib import Path
from typing import BinaryIO

LOG_SIZE_BYTES_MAX = 1 << 20
READ_BYTES_MAX = 256 * 1024
"""Of the log's end, so much is looked at."""
_READS = re.compile(r"remote memory read by ucp_get")
_ROW = re.compile(r"\|\s*(\S+\.\.\S+|\d+)\s*\|[^|]*\|\s*(\S[^|]*?)\s*\|")
_ERROR = re.compile(r"UCX\s+ERROR\s+(.*)")
_KINDS = {
    "tcp": "tcp",
    "cuda_ipc": "cuda_ipc",
    "sysv": "shm",
    "posix": "shm",
    "cma": "shm",
    "knem": "shm",
    "xpmem": "shm",
    "rc": "rdma",
    "dc": "rdma",
    "ud": "rdma",
    "gga": "rdma",
}


def prepare_environment() -> None:
    """Have UCX say how it reads, into a file; where the operator has asked UCX for something, that stays."""
    if not {"UCX_LOG_FILE", "UCX_PROTO_INFO"}.isdisjoint(os.environ):
        return
    os.environ["UCX_PROTO_INFO"] = "*remote memory read*"
    os.environ["UCX_LOG_FILE"] = f"{tempfile.gettempdir()}/pdmesh-ucx-%p.log"
    os.environ["UCX_LOG_FILE_SIZE"] = str(LOG_SIZE_BYTES_MAX)


class UcxLog:
    """This process's log, read as it grows; to be made once UCX has been loaded, and has opened it."""

    def __init__(self) -> None:
        named = os.environ.get("UCX_LOG_FILE", "")
        self._path = Path(named.replace("%p", str(os.getpid()))) if named else None
        self._transports: dict[str, str] = {}
        self._file: BinaryIO | None = None
        self._open()

    def transport_to(self, peer: str) -> str:
        """By what KV comes from a peer, to be asked after its first pull; "" where UCX has not said.

        UCX speaks once of each kind of connection: what it has said last goes for peers that came since.
        """
        if peer not in self._transports:
            said = transport_of(self._read())
            self._transports[peer] = said or next(reversed(self._transports.values()), "")
        return self._transports[peer]

    def forget(self, peer: str) -> None:
        """A peer that comes back may be elsewhere."""
        self._transports.pop(peer, None)

    def close(self) -> None:
        """Read no more."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def last_error(self) -> str:
        """UCX's newest complaint; "" where it has none."""
        return error_in(self._read())

    def _read(self) -> str:
        """The log's end."""
        self._open()
        if self._file is None:
            return ""
        ctypes.CDLL(None).fflush(None)  # UCX leaves what it has written in the C library's buffer
        self._file.seek(max(0, os.fstat(self._file.fileno()).st_size - READ_BYTES_MAX))
        return self._file.read().decode(errors="replace")

    def _open(self) -> None:
        """Take the name from the file, also from the one that UCX begins when the first is full."""
        if self._path is not None:
            with contextlib.suppress(FileNotFoundError):
                begun = self._path.open("rb")
                self._path.unlink()
                self.close()
                self._file = begun


def transport_of(log: str) -> str:
    """The newest choice for large reads in a log: its kind and UCX's own word, as in "tcp (tcp/eth0)"."""
    tables = _READS.split(log)
    if len(tables) < 2:
        return ""
    rows = _ROW.findall(tables[-1].partition("cfg#")[0])
    large = [config for sizes, config in rows if sizes.endswith("..inf")]
    if not large:
        return ""
    word = re.sub(r"^\d+% on ", "", large[0])
    transport = word.partition("/")[0]
    kind = _KINDS.get(transport) or _KINDS.get(transport.partition("_")[0], "")
    return f"{kind} ({word})" if kind else word


def error_in(log: str) -> str:
    """The newest error in a log."""
    errors = _ERROR.findall(log)
    return errors[-1].strip() if errors else ""
