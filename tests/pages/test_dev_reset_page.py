"""The page Dev reset: from the scope to the receipt and back, and every way of being refused."""

from __future__ import annotations

import pytest

from tests.fakes import InMemory
from tests.pages.conftest import Tab
from tests.reset_setup import DevEnvironment, dev_environment

REASON = "state broken after provider upgrade"


@pytest.fixture
def dev(memory: InMemory) -> DevEnvironment:
    return dev_environment(memory)


def give_reason(tab: Tab, reason: str = REASON) -> Tab:
    tab.at.text_input(key="reset_reason").set_value(reason)
    return tab.look()


def go_to_review(tab: Tab) -> Tab:
    return give_reason(tab.open_reset()).click("Make the plan")


def go_to_confirm(tab: Tab) -> Tab:
    return go_to_review(tab).click("Go on to confirm")


def phrase(tab: Tab, key: str = "reset_typed") -> str:
    return tab.at.text_input(key=key).label.removeprefix("Type ").strip("`")


def confirm(tab: Tab, typed: str | None = None) -> Tab:
    for box in tab.at.checkbox:
        if box.key.startswith("reset_acknowledged"):
            box.check()
    tab.at.text_input(key="reset_typed").set_value(typed or phrase(tab))
    return tab.look()


def fire(tab: Tab) -> Tab:
    return confirm(go_to_confirm(tab)).click("Reset payments-dev")


def test_the_wizard_walks_from_scope_to_receipt_and_back(dev, tab):
    before = dev.contents()
    go_to_review(tab)
    tab.click("Go on to confirm")
    confirm(tab).click("Reset payments-dev")
    assert "Reset of payments-dev finished" in tab.text
    tab.click("Preview undo")
    tab.at.text_input(key="reset_undo_typed").set_value(phrase(tab, "reset_undo_typed"))
    tab.look().click("Undo this reset")
    assert "was undone" in tab.text
    assert dev.contents() == before
