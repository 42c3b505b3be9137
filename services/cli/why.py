"""`pdmesh why`: see `services.cli.history`."""

from services.cli.history.story import run

__all__ = ["run"]
