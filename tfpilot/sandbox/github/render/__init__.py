"""The world as GitHub's REST API writes it (version 2022-11-28): complete payloads, built from the state alone."""

from tfpilot.sandbox.github.render.actions import ActionsRenderer
from tfpilot.sandbox.github.render.places import Json, PlaceRenderer
from tfpilot.sandbox.github.render.pulls import PullRenderer
from tfpilot.sandbox.github.world import World


class Renderer:
    """Payloads whose API addresses begin with `api_url`, the address the caller used."""

    def __init__(self, world: World, api_url: str) -> None:
        self.places = PlaceRenderer(world, api_url)
        self.pulls = PullRenderer(world, self.places, api_url)
        self.actions = ActionsRenderer(world, self.places, api_url)


__all__ = ["Json", "Renderer"]
