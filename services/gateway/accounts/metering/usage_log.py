"""Uses on disk, from their booking until the store has counted them.

A file per gateway process, locked for as long as that lives. What a process has written survives its death,
also by `kill -9`; the file that it leaves is unlocked then, and whoever finds it adds it. Nothing is synced
to the disk: a machine that loses power can lose what was booked since the last flush.
"""

import fcntl
import hashlib
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from services.common.errors import BadSetting
from services.common.store.usage import UsageEntry

SUFFIX = ".usage"
SIZE_BYTES_MAX = 256 * 1024 * 1024
"""Of one file, reached when the store is away for long; past it nothing is written any more."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(UsageEntry)


def usage_directory(setting: str, store: str) -> Path:
    """Where logs for this store are; by default below the system's temporary directory, by user.

    Stores have directories of their own, for a log found must never be added to another store. Raises
    `BadSetting` for what cannot be a directory of this user's.
    """
    base = Path(setting) if setting else Path(tempfile.gettempdir()) / f"pdmesh-usage-{os.getuid()}"
    directory = base / hashlib.sha256(store.encode()).hexdigest()[:16]
    try:
        base.mkdir(mode=0o700, parents=bool(setting), exist_ok=True)
        if (base.is_symlink() and not setting) or base.stat().st_uid != os.getuid():
            raise BadSetting(f"--usage-dir: {base} belongs to somebody else", field="usage_dir")
    except OSError as error:
        raise BadSetting(f"--usage-dir: {base}: {error.strerror}", field="usage_dir") from None
    return directory


class UsageLog:
    """One file. A new one of this process, or one that a dead process has left."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.id = path.stem
        self.path = path
        self._descriptor = descriptor
        self._size_bytes = os.fstat(descriptor).st_size

    @classmethod
    def create(cls, directory: Path) -> "UsageLog":
        """A new, empty one; raises `OSError`."""
        directory.mkdir(mode=0o700, exist_ok=True)  # the last to leave removes it
        path = directory / (uuid.uuid4().hex + SUFFIX)
        unseen = path.with_suffix(".new")  # until it is locked, or somebody would take it for abandoned
        descriptor = os.open(unseen, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        unseen.rename(path)
        return cls(path, descriptor)

    @classmethod
    def abandoned(cls, directory: Path) -> Iterator["UsageLog"]:
        """Those that no process writes any more; locked for the caller, who closes each."""
        for path in sorted(directory.glob("*" + SUFFIX)):
            if (found := _lock(path)) is not None:
                yield cls(path, found)

    def append(self, entry: UsageEntry) -> bool:
        """Write an entry in one piece; False when the file is full. Raises `OSError`."""
        line = _encoder.encode(entry) + b"\n"
        if self._size_bytes + len(line) > SIZE_BYTES_MAX:
            return False
        written = os.write(self._descriptor, line)
        self._size_bytes += written
        if written < len(line):  # the disk is full: no half line may stand before the next entry
            self._size_bytes -= written
            os.ftruncate(self._descriptor, self._size_bytes)
            raise OSError(f"only {written} of {len(line)} bytes were written")
        return True

    def entries(self, after: int = 0) -> Iterator[UsageEntry]:
        """What it holds, past a number; up to a line that is broken."""
        with open(self.path, "rb") as lines:
            for line in lines:
                try:
                    entry = _decoder.decode(line)
                except msgspec.MsgspecError:
                    return
                if entry.number > after:
                    yield entry

    def clear(self) -> None:
        """Everything in it has been counted."""
        if self._size_bytes:
            os.ftruncate(self._descriptor, 0)
            self._size_bytes = 0

    def remove(self) -> None:
        """Everything in it has been counted, and nothing follows. An empty directory goes too."""
        self.path.unlink(missing_ok=True)
        self.close()
        with suppress(OSError):
            self.path.parent.rmdir()

    def close(self) -> None:
        """Let go of it: from now on it is anybody's. Idempotent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _lock(path: Path) -> int | None:
    """A lock on a file that nobody else has; None where somebody has, or the file has gone meanwhile."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink:  # else another process has just added and removed it
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None
