"""`python -m tests.deploy.in_image IMAGE ARGUMENTS`: `pdmesh ARGUMENTS` with that image's libraries alone.

Those that the image lacks cannot be imported, as if they were not installed.
"""

import sys
from collections.abc import Iterable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution, DistributionFinder, packages_distributions
from types import ModuleType
from typing import Any

from tests.deploy.images import distribution, libraries

OWN = frozenset({"pdmesh", "services", "tests"})


class Hiding(MetaPathFinder):
    """Finds what another finder finds, except for some packages."""

    def __init__(self, finder: Any, hidden: frozenset[str]) -> None:
        self._finder, self._hidden = finder, hidden

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None for a hidden one."""
        if fullname.partition(".")[0] in self._hidden:
            return None
        spec: ModuleSpec | None = self._finder.find_spec(fullname, path, target)
        return spec

    def find_distributions(self, context: DistributionFinder.Context) -> Iterable[Distribution]:
        """What is known of installed packages; some of them ask for their own version."""
        find = getattr(self._finder, "find_distributions", None)
        return find(context) if find else ()


def hidden_in(image: str) -> frozenset[str]:
    """Packages installed here that the image does not have."""
    has = libraries(image)
    installed = packages_distributions()
    lacking = {name for name, of in installed.items() if has.isdisjoint(map(distribution, of))}
    return frozenset(lacking - OWN)


if __name__ == "__main__":
    hidden = hidden_in(sys.argv[1])
    sys.meta_path[:] = [Hiding(finder, hidden) for finder in sys.meta_path]
    from services.cli.main import main

    sys.exit(main(sys.argv[2:]))
