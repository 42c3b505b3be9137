"""The repository's own files, as the tidy rules see them."""

import ast
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IGNORED = {
    *(".git", ".venv", ".run", "build", "__pycache__"),
    *(".ruff_cache", ".mypy_cache", ".pytest_cache", ".hypothesis"),
}
"""Names that are passed over where no git says what is ignored."""


@dataclass(frozen=True)
class Source:
    """One Python file: where it is and what it says."""

    path: str
    """Relative to the repository, with forward slashes."""
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """Its syntax tree."""
        return ast.parse(self.text, self.path)

    @cached_property
    def lines(self) -> list[str]:
        """Its lines."""
        return self.text.splitlines()

    def is_below(self, *folders: str) -> bool:
        """Whether it is one of these files or in one of these folders."""
        return any(self.path == folder or self.path.startswith(folder + "/") for folder in folders)


def tracked() -> list[Path]:
    """All files of the working tree that git does not ignore; every file where there is no git."""
    names = known_to_git()
    if names is None:
        below = (path.relative_to(ROOT) for path in ROOT.rglob("*"))
        names = [path for path in below if not IGNORED.intersection(path.parts)]
    return [name for name in names if (ROOT / name).is_file()]


def known_to_git() -> list[Path] | None:
    """The files that git does not ignore; None without git, and where this is no checkout."""
    git = shutil.which("git")
    if git is None:
        return None
    listed = subprocess.run(
        [git, "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, check=False,
    )  # fmt: skip
    if listed.returncode != 0:
        return None
    return [Path(name) for name in listed.stdout.decode().split("\0") if name]


def sources(*folders: str) -> Iterator[Source]:
    """The Python files in these folders."""
    for name in tracked():
        source = Source(name.as_posix(), "")
        if name.suffix == ".py" and source.is_below(*folders):
            yield Source(source.path, (ROOT / name).read_text(encoding="utf-8"))
