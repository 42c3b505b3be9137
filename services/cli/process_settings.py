"""What every served process can be told, whatever it serves."""

from dataclasses import dataclass

from services.common.settings import setting


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """Settings of a process."""

    log_level: str = setting("info", "Least level logged", choices=("debug", "info", "warning", "error"))
    redis_url: str = setting(
        "", "Redis in which this process says that it is there; none: it does not", is_secret=True
    )
