"""Certificate files, read when they are needed: whoever renews them replaces them under us."""

from pathlib import Path

from services.common.errors import BadSetting


def read_pem(path: str, setting: str) -> bytes:
    """The bytes of a PEM file; raises `BadSetting` for one that is not there or is none."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise BadSetting(f"--{setting}: {path}: {error.strerror}") from None
    if b"-----BEGIN " not in content:
        raise BadSetting(f"--{setting}: {path} is no PEM file")
    return content


def signature(*paths: str) -> tuple[tuple[int, int, int], ...]:
    """What changes when one of the files does; raises OSError."""
    statuses = [Path(path).stat() for path in paths if path]
    return tuple((status.st_mtime_ns, status.st_size, status.st_ino) for status in statuses)
