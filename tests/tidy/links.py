"""Links between pages: the file is there, and so is the section that a fragment names."""

import re
from pathlib import Path

LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def violations(root: Path, page: str) -> list[str]:
    """One line for each link of a page that leads nowhere; links to other hosts are not followed."""
    text = FENCED.sub("", (root / page).read_text())
    return [f"{page}: {link}: {why}" for link in LINK.findall(text) if (why := _fault(root, page, link))]


def _fault(root: Path, page: str, link: str) -> str:
    if re.match(r"[a-z]+:", link):
        return ""
    path, _, fragment = link.partition("#")
    target = (root / page).parent / path if path else root / page
    if not target.exists():
        return "no such file"
    if fragment and fragment not in _sections(target):
        return "no such section"
    return ""


def _sections(page: Path) -> set[str]:
    return {anchor(heading) for heading in HEADING.findall(page.read_text())}


def anchor(heading: str) -> str:
    """The fragment by which a heading is reached: lower case, hyphens for spaces, no punctuation."""
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")
