"""Errors by the reasons with which they travel."""

from services.common.errors.tree import Internal, MeshError


def _tree(root: type[MeshError]) -> list[type[MeshError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in _tree(child))]


_BY_REASON = {kind.reason: kind for kind in _tree(MeshError)}


def by_reason(reason: str) -> type[MeshError]:
    """The class of a machine-readable reason; `Internal` for an unknown one."""
    return _BY_REASON.get(reason, Internal)
