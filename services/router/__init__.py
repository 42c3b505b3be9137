"""The router: owns every request's life. `core` decides; the shell around it moves bytes."""

from services.router.settings import Settings

__all__ = ["Settings"]
