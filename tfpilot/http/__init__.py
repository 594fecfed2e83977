"""The HTTP door: JSON routes in the same process as the pages."""

from __future__ import annotations

from tfpilot.http.lifespan import lifespan
from tfpilot.http.middleware import middleware
from tfpilot.http.routes import routes

__all__ = ["lifespan", "middleware", "routes"]
