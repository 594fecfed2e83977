"""The HTTP door: JSON routes in the same process as the pages, and the guards before both."""

from __future__ import annotations

from tfpilot.http.guards import guards
from tfpilot.http.lifespan import lifespan
from tfpilot.http.routes import routes

__all__ = ["guards", "lifespan", "routes"]
