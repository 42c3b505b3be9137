"""Background tasks that outlive their failures."""

from services.common.background.keep_running import keep_running

__all__ = ["keep_running"]
