"""Reasoning in fields that a client only carries: `encrypted_content`, and a thinking block's `signature`.

A client that keeps no reasoning of its own sends the field back with the next request, and the model finds
its thoughts again, at any gateway and after any restart. It is encoded and not encrypted: it holds nothing
that its caller may not see.
"""

import base64
import binascii

_BEGINS = "pdmesh-reasoning-1:"


def pack(thought: str) -> str:
    """What the client is to carry."""
    return _BEGINS + base64.b64encode(thought.encode("utf-8", "replace")).decode()


def unpack(carried: str | None) -> str:
    """The thought; empty for what is not ours, such as another provider's."""
    if not carried or not carried.startswith(_BEGINS):
        return ""
    try:
        return base64.b64decode(carried.removeprefix(_BEGINS), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
