"""What every page stands in: the portal it works on, who uses it, the sidebar, and how a failure is shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Final
from urllib.parse import quote

import streamlit as st
from streamlit.navigation.page import Page

from tfpilot import wiring
from tfpilot.core.document import is_request_id
from tfpilot.core.model import Operator
from tfpilot.core.selection import RequestFilter
from tfpilot.errors import (
    ArchivedError,
    ConfigError,
    ConflictError,
    DocumentError,
    GitHubError,
    MalformedIdError,
    NotFoundError,
    RefusedError,
    StorageError,
    TfPilotError,
)
from tfpilot.operations.browse import list_requests
from tfpilot.operations.freezing import find_freeze
from tfpilot.ui import sign_in, words
from tfpilot.wiring import Portal

REQUESTS_PAGE: Final = "pages/requests.py"
REQUEST_PAGE: Final = "pages/request.py"
_FIND: Final = "shell_find"
_LOOKED_FOR: Final = "shell_looked_for"

# The side padding of a page, and red for the button that removes something; everything works without it.
_STYLE: Final = (
    "<style>.stMainBlockContainer {padding-left: 1.8rem; padding-right: 1.8rem;}"
    '[class*="st-key-"][class*="_fire"] button:enabled {background: #c8281c; border-color: #c8281c; color: #fff;}'
    "</style>"
)

# Drawn here: an icon by name would be fetched from elsewhere.
_ICON: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#4f46e5"/>'
    '<path d="M8 16h6l3-6 3 12 2-6h3" fill="none" stroke="#fff" stroke-width="2.6" stroke-linejoin="round"/></svg>'
)

_TITLES: Final[tuple[tuple[type[TfPilotError], str, str], ...]] = (
    (ConfigError, "The portal is not configured", "settings"),
    (MalformedIdError, "This is not a request id", "help"),
    (NotFoundError, "There is no such request", "search_off"),
    (ArchivedError, "The request is archived", "inventory_2"),
    (DocumentError, "The document cannot be read", "broken_image"),
    (ConflictError, "Somebody else wrote first", "call_split"),
    (RefusedError, "Refused", "block"),
    (StorageError, "Storage cannot be reached", "cloud_off"),
    (GitHubError, "GitHub told nothing", "cloud_off"),
)


def portal() -> Portal:
    """The portal this page works on. Raises ConfigError, or another TfPilotError where it cannot be built."""
    return wiring.portal()


def operator() -> Operator:
    """Who uses the page now. Raises as `sign_in.operator`."""
    return sign_in.operator()


def tell_address() -> None:
    """Tells the portal where its server is going to listen."""
    wiring.listen_at(f"http://127.0.0.1:{st.config.get_option('server.port')}")


@contextmanager
def explained(key: str) -> Iterator[None]:
    """Shows an expected failure as what happened and what to do, with a way on; the page ends there."""
    try:
        yield
    except TfPilotError as error:
        show_error(error)
        with st.container(horizontal=True, vertical_alignment="center"):
            if not isinstance(error, MalformedIdError):
                st.button("Try again", key=f"{key}_try_again", icon=":material/refresh:", type="primary")
            if isinstance(error, (MalformedIdError, NotFoundError)):
                st.page_link(REQUESTS_PAGE, label="All requests", icon=":material/inbox:")
        st.stop()


def show_error(error: TfPilotError, *, title: str | None = None) -> None:
    """What happened, and what to do next. `title` where the error is about something else than a request."""
    usual, icon = next(
        ((title, icon) for kind, title, icon in _TITLES if isinstance(error, kind)), ("It failed", "error")
    )
    hint = f"\n\n{words.plain(words.sentence(error.hint))}" if error.hint else ""
    st.error(f"{words.plain(words.sentence(error.message))}{hint}", title=title or usual, icon=f":material/{icon}:")


def told(refusal: TfPilotError | None) -> str | None:
    """What a refusal says beside a button; None where there is none."""
    return None if refusal is None else refusal.message


def configure_page(title: str) -> None:
    """Title and layout of the browser's tab."""
    st.set_page_config(page_title=title, page_icon=_ICON, layout="wide", initial_sidebar_state=240)


def sidebar(sections: Mapping[str, Sequence[Page]]) -> None:
    """The ways to the pages, the search box, and what the portal works on. Leaves when somebody looks for a request."""
    st.html(_STYLE)
    here = portal()
    _go_to_what_was_looked_for(here)
    with st.sidebar:
        for section, pages in sections.items():
            st.markdown(section)
            with st.container(gap="xsmall"):
                for page in pages:
                    st.page_link(page, width="stretch")
        st.space("small")
        st.text_input(
            "Find a request",
            key=_FIND,
            icon=":material/search:",
            placeholder="id, PR, run, branch, sha",
            help="Opens the request where exactly one matches, else the list of those that do. #412 is a PR number.",
            max_chars=200,
            on_change=_look_for,
        )
        with st.container(gap="xsmall"):
            for line in _standing(here):
                st.markdown(f":small[{line}]")
        sign_in.show_way_out()


def banner() -> None:
    """Says on every page that nobody may write, and why."""
    edges = portal().edges
    if edges.rights.read_only:
        st.warning(
            "The portal is read-only. Reading and previews work; every write is refused by page, HTTP and command.",
            icon=":material/lock:",
        )
    try:
        notice = find_freeze(edges)
    except StorageError as error:
        st.warning(f"Whether the portal is frozen could not be told: {words.plain(error.message)}")
        return
    if notice is not None:
        since = f" since {words.clock_time(notice.at, edges.clock())}" if notice.at is not None else ""
        st.warning(
            f"Frozen by {words.plain(notice.by)}{since}: “{words.plain(notice.reason)}”. Reading and previews work; "
            "every write is refused by page, HTTP and command.",
            icon=":material/ac_unit:",
        )


def go_to_request(request_id: str) -> None:
    """Leaves this page for that of the request."""
    st.switch_page(REQUEST_PAGE, query_params={"id": request_id})


def request_link(request_id: str) -> str:
    """The address of the request's page, seen from another page of the portal; for cells of a table."""
    return f"request?id={quote(request_id, errors='replace')}"


def age_badge(label: str, at: datetime | None, now: datetime, *, icon: str = "schedule") -> str:
    """A quiet chip with the age of something: `Data 8 s old`."""
    age = words.lasting(now - at) if at is not None else "not yet"
    return f":gray-badge[:material/{icon}: {label.format(age=age)}]"


def _standing(here: Portal) -> Iterator[str]:
    if here.place.is_sandbox:
        yield ":violet-badge[:material/science: Sandbox] nothing here is real"
    if here.edges.snapshots.current().error is not None:
        yield ":red-badge[:material/cloud_off: Storage unreachable]"
    yield f":material/cloud: {words.plain(here.place.bucket)} · {words.plain(here.place.region)}"
    budget = here.edges.github.budget()
    left = f"{words.number(budget[0])} of {words.number(budget[1])} left" if budget else "not asked yet"
    yield f":material/commit: GitHub {left}"
    who = operator()
    yield f":material/person: {words.plain(who.login or 'nobody')} · {who.role.value}"


def _look_for() -> None:
    st.session_state[_LOOKED_FOR] = st.session_state[_FIND].strip()
    st.session_state[_FIND] = ""


def _go_to_what_was_looked_for(here: Portal) -> None:
    text = st.session_state.pop(_LOOKED_FOR, "")
    if not text:
        return
    found = _found(here, text)
    if found is not None:
        go_to_request(found)
    st.switch_page(REQUESTS_PAGE, query_params={"q": text})


def _found(here: Portal, text: str) -> str | None:
    """The one request that the text can only mean; an id is one even before a reading has seen it."""
    rows = [
        row
        for archived in (False, True)
        for row in list_requests(here.edges, RequestFilter(text=text, archived=archived)).selection.rows
    ]
    if len(rows) == 1:
        return rows[0].id
    is_known = any(row.id == text for row in rows)
    return text if is_known or (not rows and is_request_id(text)) else None
