"""Step times that come with pdmesh, one file each, and those in files of one's own.

`python -m tools.profiles` makes the files here, from kernels measured on the GPUs.
"""

from importlib import resources
from pathlib import Path

from services.common.errors import BadSetting
from services.common.settings import nearest
from services.worker.engine.sim.profile import PROFILES
from services.worker.engine.sim.step_times import StepTimes

SUFFIX = ".json"


def shipped_profiles() -> list[str]:
    """Names of those that come with pdmesh."""
    files = (Path(str(entry)) for entry in resources.files(__name__).iterdir())
    return sorted(file.stem for file in files if file.suffix == SUFFIX)


def find_times(name: str) -> StepTimes:
    """Step times by name, or from a file; raises BadSetting, which names the nearest."""
    if name.endswith(SUFFIX):
        return _read(Path(name).expanduser())
    names = shipped_profiles()
    if name not in names:
        known = [*PROFILES, *names]
        close = nearest(name, known)
        hint = f"; did you mean {close}?" if close else ""
        raise BadSetting(
            f"engine argument profile={name}: no such profile{hint} "
            f"(known: {', '.join(known)}, or a file that ends in {SUFFIX})"
        )
    return _read(Path(str(resources.files(__name__) / f"{name}{SUFFIX}")))


def _read(path: Path) -> StepTimes:
    try:
        return StepTimes.from_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadSetting(f"engine argument profile={path}: {error}") from None
