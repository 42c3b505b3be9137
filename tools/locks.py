"""Write locks/: what images and CI install, with hashes. `python -m tools.locks [--keep]`."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "locks"
IMAGE_PYTHON, CI_PYTHON = "3.12", "3.11"
PLATFORM = "x86_64-manylinux_2_36"
"""What Debian 12 runs."""


@dataclass(frozen=True)
class Lock:
    """One file, and what is resolved for it."""

    name: str
    sources: tuple[str, ...] = ("pyproject.toml",)
    extras: tuple[str, ...] = ()
    python: str = IMAGE_PYTHON
    options: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """Where it is written."""
        return FOLDER / f"{self.name}.txt"


DEV = ("dev", "retrieval", "tracing", "plan", "bench")
# torch and what must fit its build come from PyTorch's index; see locks/README.md
WITHOUT_TORCH = ("pyproject.toml", "locks/torch-needs.in")
OVERRIDE = ("--override", "locks/without-torch.in")

LOCKS = (
    Lock("build", ("locks/build.in",)),
    Lock("light"),
    Lock("cpu", WITHOUT_TORCH, ("cpu",), options=OVERRIDE),
    Lock("nixl", ("locks/nixl.in",), options=("--no-deps",)),  # what it depends on is CUDA's
    Lock("gpu", extras=("gpu",)),
    Lock("dev", extras=DEV, python=CI_PYTHON),
    Lock("full", WITHOUT_TORCH, ("cpu", *DEV), python=CI_PYTHON, options=OVERRIDE),
)


def compile_lock(lock: Lock, *, keeps: bool) -> None:
    """Resolve one lock and write its file; with `keeps`, versions that still fit stay."""
    command = [sys.executable, "-m", "uv", "pip", "compile", *lock.sources, "-o", str(lock.path)]
    command += ["--generate-hashes", "--no-header", "--quiet", "--no-emit-index-url"]
    command += ["--python-version", lock.python, "--python-platform", PLATFORM, *lock.options]
    command += [flag for extra in lock.extras for flag in ("--extra", extra)]
    command += [] if keeps else ["--upgrade"]
    subprocess.run(command, cwd=ROOT, check=True)


def main() -> int:
    """Write all of them."""
    keeps = "--keep" in sys.argv[1:]
    for lock in LOCKS:
        compile_lock(lock, keeps=keeps)
        print(f"{lock.path.relative_to(ROOT)}: {lock.path.read_text().count('==')} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
