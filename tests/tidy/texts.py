"""What no tracked file may name: package registries, and places on somebody's machine."""

import re

REGISTRIES = [
    "pypi" + r"\.org",
    "pythonhosted" + r"\.org",
    r"download\.pytorch" + r"\.org",
    "npmjs" + r"\.(org|com)",
    r"deb\.debian" + r"\.org",
    r"archive\.ubuntu" + r"\.com",
]
MACHINE_PATHS = [r"/home/\w+", "/root" + "/", r"/Users/\w+", r"(?<![\w.])/work/\w+", "/tmp" + "/w/"]
PATTERNS = [(re.compile(p), "a package registry's host") for p in REGISTRIES] + [
    (re.compile(p), "a path of one machine") for p in MACHINE_PATHS
]


def violations(path: str, text: str) -> list[str]:
    """One line for each forbidden name."""
    wrong = []
    for number, line in enumerate(text.splitlines(), 1):
        wrong += [f"{path}:{number}: {why}: {found[0]}" for p, why in PATTERNS if (found := p.search(line))]
    return wrong
