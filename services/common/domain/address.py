"""HOST:PORT, the host in brackets where it is an IPv6 address."""


def split_address(address: str) -> tuple[str, int]:
    """Host without brackets, and port; raises ValueError with what is wrong."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"{address!r} is not HOST:PORT")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError(f"{address!r}: an IPv6 address needs brackets, [{host}]:{port}")
    return host.strip("[]"), int(port)


def join_address(host: str, port: int) -> str:
    """`split_address` undone."""
    bare = host.strip("[]")
    return f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}"
