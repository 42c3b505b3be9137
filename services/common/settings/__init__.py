"""Strict frozen configuration from defaults, a file, the environment and flags, in that order."""

from services.common.settings.field import setting

__all__ = ["setting"]
