"""A browser tab on the pages, over edges in memory: opens app.py, clicks as a person would, and tells what is shown."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from streamlit.runtime.context import ContextProxy
from streamlit.testing.v1 import AppTest

from tests.fakes import InMemory
from tfpilot import wiring
from tfpilot.config import Settings
from tfpilot.ui.index_desk import IndexDesk, shelf_of
from tfpilot.ui.locks_desk import LocksDesk

APP = Path(__file__).parents[2] / "app.py"


class Tab:
    """One tab. Work in the background is waited for, so that a look always sees what came of a click."""

    def __init__(self) -> None:
        self.at = AppTest.from_file(APP, default_timeout=20)

    def open_list(self, **query: str | list[str]) -> Tab:
        """Goes to the list of requests, by a link with that query."""
        for name, value in query.items():
            self.at.query_params[name] = value
        return self.look()

    def open_request(self, request_id: str | None) -> Tab:
        """Goes to a request's page by its link; without an id to the bare page."""
        self.at.run()
        self.at.switch_page("pages/request.py")
        if request_id is not None:
            self.at.query_params["id"] = request_id
        return self.look().look()

    def open_index(self, **query: str) -> Tab:
        """Goes to the page of the run index, by a link with that query."""
        self.at.run()
        self.at.switch_page("pages/run_index.py")
        for name, value in query.items():
            self.at.query_params[name] = value
        return self.look().look()

    def open_locks(self, **query: str) -> Tab:
        """Goes to the page of the locks, by a link with that query."""
        self.at.run()
        self.at.switch_page("pages/locks.py")
        for name, value in query.items():
            self.at.query_params[name] = value
        return self.look().look()

    def open_reset(self, **query: str) -> Tab:
        """Goes to the page Dev reset, by a link with that query."""
        self.at.run()
        self.at.switch_page("pages/dev_reset.py")
        for name, value in query.items():
            self.at.query_params[name] = value
        return self.look().look()

    def select(self, column: str, *rows: int) -> Tab:
        """Ticks the rows of the table that has that column, counted from 0."""
        (key,) = [table.key for table in self.at.dataframe if column in table.value.columns]
        self.at.session_state[key] = {"selection": {"rows": list(rows), "columns": [], "cells": []}}
        return self.look()

    def look(self) -> Tab:
        """Renders the page, waits for what it had begun, and renders what came of it."""
        self.at.run()
        while self._finish():
            self.at.run()
        assert not self.at.exception, self.at.exception
        return self

    def click(self, label: str) -> Tab:
        """Clicks the button with that label, or a label that begins so."""
        self.button(label).click()
        return self.look()

    def button(self, label: str) -> Any:
        found = [button for button in self.at.button if button.label.startswith(label)]
        assert found, f"no button {label!r} among {[button.label for button in self.at.button]}"
        return found[0]

    def has_button(self, label: str) -> bool:
        return any(button.label.startswith(label) for button in self.at.button)

    def table(self, column: str) -> pd.DataFrame:
        """The table that has that column."""
        frames = [table.value for table in [*self.at.dataframe, *self.at.table]]
        found = [frame for frame in frames if column in frame.columns]
        assert found, f"no table with {column!r} among {[list(frame.columns) for frame in frames]}"
        return found[0]

    def has_table(self, column: str) -> bool:
        return any(column in table.value.columns for table in [*self.at.dataframe, *self.at.table])

    @property
    def requests(self) -> Sequence[str]:
        """The ids in the list, from top to bottom."""
        return list(self.table("Request")["Request"])

    @property
    def text(self) -> str:
        """Everything that is said outside tables, with escapes taken out."""
        parts = [element.value for element in [*self.at.title, *self.at.markdown]]
        for kind in (self.at.error, self.at.warning, self.at.info, self.at.success):
            parts += [f"{getattr(element.proto, 'title', '')} {element.value}" for element in kind]
        return "\n".join(parts).replace("\\", "").replace("\u2060", "")

    def _finish(self) -> bool:
        """Whether there was something to wait for."""
        desk = self.at.session_state.get("request_desk", None)
        works = [errand.work for errand in (desk.errand, desk.looking, desk.deed) if errand is not None] if desk else []
        if "requests_refreshing" in self.at.session_state:
            works.append(self.at.session_state["requests_refreshing"])
        works += _works_of_index(self.at.session_state.get("index_desk", None))
        reset_desk = self.at.session_state.get("reset_desk", None)
        works += reset_desk.works if reset_desk is not None else []
        works += _works_of_locks(self.at.session_state.get("locks_desk", None))
        wait(works, timeout=10)
        return bool(works)


def _works_of_index(desk: IndexDesk | None) -> list[Future[Any]]:
    if desk is None:
        return []
    refreshing = shelf_of(wiring.portal().edges).refreshing
    begun = [desk.errand.work if desk.errand else None, *(reading.work for reading in desk.readings)]
    if refreshing is not None and not refreshing.done():
        begun.append(refreshing)
    return [work for work in begun if work is not None]


def _works_of_locks(desk: LocksDesk | None) -> list[Future[Any]]:
    if desk is None:
        return []
    begun = [desk.errand.work if desk.errand else None, desk.list.work]
    begun += [reading.work for attempt in desk.attempts.values() for reading in attempt.readings]
    return [work for work in begun if work is not None]


@pytest.fixture(autouse=True)
def on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """AppTest's tabs have no address; those of this machine show none."""
    monkeypatch.setattr(ContextProxy, "ip_address", property(lambda _self: None))


@pytest.fixture(autouse=True)
def no_component_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each new tab would look through every installed package for components: most of the time of a test."""
    monkeypatch.setattr("streamlit.components.v2.manifest_scanner.scan_component_manifests", list)


@pytest.fixture(autouse=True)
def framed_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run begins with app.py, as on the server (see there): a tab in a test forgets it and takes pages/ alone."""

    def run_frame(main_script: str) -> None:
        code = compile(Path(main_script).read_text(), main_script, "exec")
        exec(code, sys.modules["__main__"].__dict__)

    monkeypatch.setattr("streamlit.runtime.scriptrunner.script_runner._mpa_v1", run_frame)


@pytest.fixture
def tab(memory: InMemory) -> Iterator[Tab]:
    """A tab on a portal whose edges are in memory."""
    place = wiring.Place(bucket="tfpilot-requests", region="eu-west-2", github_url="https://api.github.com")
    wiring.use(wiring.Portal(memory.edges, Settings.model_construct(), place))
    yield Tab()
    wiring.use(None)
