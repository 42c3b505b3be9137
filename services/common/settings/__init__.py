"""Strict frozen configuration from defaults, a file, the environment and flags, in that order.

    @dataclass(frozen=True, slots=True)
    class Settings:
        port: int = setting(8000, "TCP port of the REST API")
        engine: EngineArguments = group(EngineArguments)          # --dtype
        draft: EngineArguments = group(EngineArguments, "draft_")  # --draft-dtype

    settings = load(Settings, service="gateway", flags={}, environ=os.environ, file=None)

Nothing is guessed: an unknown flag, variable or key is a `BadSetting` that names the nearest known one,
and a value must have its field's type.
"""

from services.common.settings.field import group, setting
from services.common.settings.flags import StrictParser, add_flags, flags_of, parse_flags, shown
from services.common.settings.leaf import Leaf, leaves
from services.common.settings.load import CONFIG_VARIABLE, SERVICES, load
from services.common.settings.nearest import nearest, unknown

__all__ = [
    "CONFIG_VARIABLE",
    "SERVICES",
    "Leaf",
    "StrictParser",
    "add_flags",
    "flags_of",
    "group",
    "leaves",
    "load",
    "nearest",
    "parse_flags",
    "setting",
    "shown",
    "unknown",
]
