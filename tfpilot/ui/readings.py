"""How fresh the list of requests is: its age, reading it again, and what is shown where there is none to show."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from typing import Final

import streamlit as st

from tfpilot.core.index_listing import IndexListing
from tfpilot.core.model import Snapshot
from tfpilot.edges import Edges
from tfpilot.ui import shell, tables, words
from tfpilot.ui.background import BACKGROUND
from tfpilot.wiring import RENEW_EVERY, Portal

_REFRESHING: Final = "requests_refreshing"
_LOOK_EVERY: Final = timedelta(seconds=5)
_LOOK_OFTEN: Final = timedelta(milliseconds=500)
_AWS_STATUS: Final = "https://health.aws.amazon.com/health/status"


def is_refreshing() -> bool:
    """Whether a reading that somebody asked for on this page is under way. Forgets one that has ended."""
    work: Future[Snapshot] | None = st.session_state.get(_REFRESHING)
    if work is None:
        return False
    if work.done():
        del st.session_state[_REFRESHING]
        return False
    return True


def refresh(edges: Edges) -> None:
    """Begins a new reading, without waiting for it."""
    st.session_state[_REFRESHING] = BACKGROUND.submit("refresh", edges.snapshots.refresh)


def show_header(portal: Portal, shown: Snapshot) -> None:
    """The title, the age of what is shown, and Refresh."""
    refreshing = is_refreshing()
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.title("Requests", anchor=False, width="content")
        if shown.read_at is not None or shown.error is not None:
            _show_age(portal.edges, shown, refreshing=refreshing)


def _show_age(edges: Edges, shown: Snapshot, *, refreshing: bool) -> None:
    """The age of the data, and Refresh.

    Asks for a new page on every tick while another reading is known than is shown: asking once can get lost.
    """

    @st.fragment(run_every=_LOOK_OFTEN if refreshing else _LOOK_EVERY)
    def tick() -> None:
        work: Future[Snapshot] | None = st.session_state.get(_REFRESHING)
        known = edges.snapshots.current()
        if _identity(known) != _identity(shown) or refreshing is not (work is not None and not work.done()):
            st.rerun()
        with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center"):
            if refreshing:
                st.markdown(":blue-badge[:material/sync: Reading again]", width="content")
            elif known.read_at is not None:
                st.markdown(shell.age_badge("Data {age} old", known.read_at, edges.clock()), width="content")
            st.button(
                "Refresh",
                key="requests_refresh",
                icon=":material/refresh:",
                shortcut="u",
                disabled=refreshing,
                on_click=refresh,
                args=(edges,),
            )

    tick()


def show_first_reading(portal: Portal, shown: Snapshot) -> None:
    """How far the first reading is, in the layout that will follow. Asks for a new page when it has ended."""

    @st.fragment(run_every=_LOOK_OFTEN)
    def tick() -> None:
        if _identity(portal.edges.snapshots.current()) != _identity(shown):
            st.rerun()
        read, total = portal.edges.snapshots.progress() or (0, 0)
        how_far = f"{words.number(read)} of {words.counted(total, 'request')}" if total else "listing the requests"
        bucket = words.code(portal.place.bucket)
        st.markdown(
            f":material/hourglass_top: Reading {bucket} for the first time: {how_far}. "
            "Later visits start from the cache."
        )
        st.progress(read / total if total else 0.0)

    tick()
    st.skeleton(34)
    table, panel = st.columns((19, 10))
    with table:
        st.skeleton(560)
    with panel:
        st.skeleton(560)


def show_outage(
    portal: Portal,
    shown: Snapshot | IndexListing,
    *,
    key: str = "requests_try_again",
    again: Callable[[Edges], None] = refresh,
) -> None:
    """Why a list could not be read, what to look at, and what is shown instead. `again` reads it once more."""
    now = portal.edges.clock()
    since = f" Last tried at {words.clock_time(shown.tried_at, now)} UTC." if shown.tried_at else ""
    st.error(
        f"{words.plain(words.sentence(shown.error or ''))}{since} Nothing was changed and nothing is lost.",
        title="Storage cannot be reached",
        icon=":material/cloud_off:",
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Try again",
            key=key,
            icon=":material/refresh:",
            type="primary",
            on_click=again,
            args=(portal.edges,),
        )
        st.markdown(f"Tried by itself every {words.lasting(RENEW_EVERY)}.", width="content")
    with st.container(border=True):
        st.markdown("**What you can do**")
        tables.show(_questions(portal), alt="What to check when storage cannot be reached")
    if shown.read_at is not None:
        st.warning(
            f"Below is the last complete reading, from {words.clock_time(shown.read_at, now)} UTC, "
            f"{words.lasting(now - shown.read_at)} old. It can be read and searched.",
            icon=":material/schedule:",
        )


def show_empty(portal: Portal) -> None:
    """The bucket was read completely and holds no request."""
    with st.container(border=True, horizontal_alignment="center"):
        st.space("medium")
        st.markdown("### :material/inbox: No requests in this bucket yet", width="content", anchors=False)
        bucket, region = words.code(portal.place.bucket), words.plain(portal.place.region)
        st.markdown(f"{bucket} in {region} was read completely: 0 requests, 0 archived.", width="content")
        st.markdown(
            "Requests are created in the TfPilot web app. The first one shows up here within a minute.", width="content"
        )
        st.space("medium")
    with st.container(border=True):
        st.markdown("**Is this what you expected?**")
        tables.show(
            [
                {
                    "Question": "Is this the right bucket?",
                    "Where to look": f"{words.code('TFPILOT_REQUESTS_BUCKET')} = {bucket}",
                },
                {
                    "Question": "Only trying it out?",
                    "Where to look": f"{words.code('make demo')} starts the portal on a local world of its own",
                },
            ],
            alt="What to check when no requests are shown",
        )


def _questions(portal: Portal) -> list[dict[str, str]]:
    endpoint = portal.settings.s3_endpoint
    address = words.code(endpoint) if endpoint else f"not set, so that of AWS in {words.plain(portal.place.region)}"
    asked = [
        ("Is it only here?", f"{words.code('python -m tfpilot doctor')} on another machine"),
        ("Is the address right?", f"{words.code('AWS_ENDPOINT_URL_S3')} is {address}"),
        (
            "Do the credentials still hold?",
            f"{words.code('aws sts get-caller-identity')} with this portal's environment",
        ),
        ("Is S3 itself down?", words.link("AWS status", _AWS_STATUS)),
    ]
    return [
        {"": str(number), "Question": question, "Where to look": where}
        for number, (question, where) in enumerate(asked, 1)
    ]


def _identity(snapshot: Snapshot) -> tuple[object, ...]:
    """What of a reading a page shows; its age is shown by itself."""
    return (snapshot.number, snapshot.read_at is None, snapshot.error)
