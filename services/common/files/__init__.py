"""Files that only this user reads: they hold secrets, or what callers have sent."""

import os
from pathlib import Path


def write_private(path: Path, text: str) -> None:
    """A new file; raises OSError, FileExistsError where there is one."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def private_opener(path: str, flags: int) -> int:
    """For `open(..., opener=private_opener)`; a file that is there becomes this user's alone, too."""
    descriptor = os.open(path, flags, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    except PermissionError:  # another user's, such as /dev/null
        pass
    return descriptor
