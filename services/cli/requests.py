"""`pdmesh requests`: see `services.cli.history`."""

from services.cli.history.search import run

__all__ = ["run"]
