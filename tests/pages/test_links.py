"""Where the links of stored documents and of GitHub may lead."""

from __future__ import annotations

import pytest

from tests.fakes import InMemory
from tfpilot import wiring
from tfpilot.config import Settings
from tfpilot.ui import links


@pytest.fixture(params=["https://api.github.com", "https://ghe.acme.test/api/v3"])
def github(request: pytest.FixtureRequest, memory: InMemory):
    """The host of GitHub as people reach it."""
    place = wiring.Place(bucket="b", region="r", github_url=request.param)
    wiring.use(wiring.Portal(memory.edges, Settings.model_construct(), place))
    yield {"https://api.github.com": "github.com"}.get(request.param, "ghe.acme.test")
    wiring.use(None)


def test_what_leads_to_the_portals_github_is_a_link(github: str):
    assert links.link("PR #7", f"https://{github}/a/b/pull/7") == f"[PR \\#\u20607](https://{github}/a/b/pull/7)"
    assert links.leads_to_github("https://github.com/a/b")


@pytest.mark.parametrize(
    "host", ["evil.test", "github.com.evil.test", "github.com@evil.test", "notgithub.com", "api.github.com"]
)
@pytest.mark.usefixtures("github")
def test_what_leads_elsewhere_is_its_label(host: str):
    assert links.link("PR", f"https://{host}/a/b/pull/7") == "PR"
