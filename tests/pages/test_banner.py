"""What every page says while nobody may write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.builders import REQUEST_ID, stuck_planning
from tests.fakes import InMemory
from tests.pages.conftest import Tab
from tfpilot import wiring
from tfpilot.config import Settings
from tfpilot.core.model import Door, Operator, Role
from tfpilot.operations.freezing import freeze_portal

ADMIN = Operator("ops-lead", Role.ADMIN, Door.PAGE)
PAGES: dict[str, Callable[[Tab], Tab]] = {
    "requests": Tab.open_list,
    "request": lambda tab: tab.open_request(REQUEST_ID),
    "run index": Tab.open_index,
    "locks": Tab.open_locks,
    "dev reset": Tab.open_reset,
}


def warnings(tab: Tab) -> list[str]:
    return [each.value for each in tab.at.warning]


@pytest.mark.parametrize("name", PAGES)
def test_a_freeze_is_said_on_every_page_with_who_and_why_as_text(tab: Tab, memory: InMemory, name: str):
    memory.store(stuck_planning())
    freeze_portal(memory.edges, reason="S3 *incident* <b>", operator=ADMIN)
    [first, *_] = warnings(PAGES[name](tab))
    assert first.startswith("Frozen by ops\\-lead since ")
    assert "S3 \\*incident\\* " in first
    assert "\\<b\\>" in first


@pytest.mark.parametrize("name", PAGES)
def test_a_read_only_portal_says_so_on_every_page(tab: Tab, memory: InMemory, name: str):
    memory.store(stuck_planning())
    memory.rights = replace(memory.rights, read_only=True)
    place = wiring.Place(bucket="tfpilot-requests", region="eu-west-2", github_url="https://api.github.com")
    wiring.use(wiring.Portal(memory.edges, Settings.model_construct(), place))
    [first, *_] = warnings(PAGES[name](tab))
    assert first.startswith("The portal is read-only")


def test_a_stuck_request_is_not_healed_by_opening_it_while_the_portal_is_frozen(tab: Tab, memory: InMemory):
    memory.store(stuck_planning())
    before = memory.bucket.read(f"requests/{REQUEST_ID}.json", limit_bytes=100_000).content
    freeze_portal(memory.edges, reason="incident", operator=ADMIN)
    records = len(memory.audit.records)
    tab.open_request(REQUEST_ID).look()
    assert memory.bucket.read(f"requests/{REQUEST_ID}.json", limit_bytes=100_000).content == before
    assert len(memory.audit.records) == records
