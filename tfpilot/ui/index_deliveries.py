"""Webhook deliveries: what waits to be handled, what was handled and how, and what the web app says it saw."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import streamlit as st
from streamlit.column_config import LinkColumn, TextColumn

from tfpilot.core.delivery import HandledDelivery, Place, StoredDelivery
from tfpilot.core.roles import Right
from tfpilot.edges import Edges
from tfpilot.operations.deliveries import SHOWN, DeliveriesView, Disposition, open_deliveries
from tfpilot.ui import index_acts, shell, tables, words
from tfpilot.ui.grid import ROW_HEIGHT, chips, frame, selected_rows
from tfpilot.ui.index_acts import Replayed
from tfpilot.ui.index_desk import IndexDesk
from tfpilot.ui.looks import Look

WEBHOOK_PATH: Final = "/api/github/webhook"
WHICH: Final = "index_deliveries_which"
_READ_AGAIN_AFTER: Final = timedelta(seconds=30)
_ALL, _APPLIED, _UNCORRELATED = "All", "Applied", "Uncorrelated"

_APPLIED_LOOK: Final = Look("Applied", "green", "check_circle", "✓")
_IGNORED_LOOK: Final = Look("Ignored", "gray", "remove", "\u2013")
_PLACES: Final[Mapping[Place, Look]] = {
    Place.DEAD_LETTER: Look("Dead letter", "red", "error", "✕"),
    Place.PARKED: Look("Parked", "violet", "hourglass_top", "◔"),
}
_DISPOSITIONS: Final[Mapping[Disposition, Look]] = {
    Disposition.APPLIED: _APPLIED_LOOK,
    Disposition.IGNORED: _IGNORED_LOOK,
    Disposition.DUPLICATE: Look("Handled before", "gray", "content_copy"),
    Disposition.PARKED: Look("Still parked", "violet", "hourglass_top"),
    Disposition.KEPT: Look("Kept again", "orange", "warning"),
}


def show(edges: Edges, desk: IndexDesk) -> None:
    """The tab, from the last reading of the deliveries."""
    if not edges.rules.webhook_secrets:
        _show_no_secret()
    now = edges.clock()
    reading = desk.deliveries
    # A reading ages while the tab is open: what is asked for is another one every half minute.
    reading.want(int(now.timestamp() // _READ_AGAIN_AFTER.total_seconds()), lambda: open_deliveries(edges), now=now,
                 at_most_every=_READ_AGAIN_AFTER)  # fmt: skip
    reading.collect(now)
    if reading.error is not None:
        shell.show_error(reading.error, title="The deliveries could not be read")
        if reading.value is not None and reading.at is not None:
            st.warning(
                f"Below is the last reading, from {words.clock_time(reading.at, now)} UTC, "
                f"{words.lasting(now - reading.at)} old.",
                icon=":material/schedule:",
            )
    if reading.value is None:
        if reading.error is None:
            st.skeleton(320)
        return
    _show_waiting(edges, desk, reading.value, now)
    _show_handled(reading.value, now)
    _show_seen(reading.value, now)


def show_replayed(results: Sequence[Replayed]) -> None:
    """What became of the deliveries that were replayed, until the next click."""
    failed = [result for result in results if result.error is not None]
    handled = [result for result in results if result.receipt is not None]
    text = f"{words.counted(len(handled), 'delivery', 'deliveries')} replayed, {words.number(len(failed))} failed."
    if failed:
        st.warning(f"{text} What failed is kept as it was.", title="Replayed in part", icon=":material/warning:")
    else:
        st.success(f"{words.counted(len(handled), 'delivery', 'deliveries')} replayed.", title="Replayed",
                   icon=":material/check_circle:")  # fmt: skip
    tables.show([_replayed_cells(result) for result in [*failed, *handled]],
                alt=f"Replayed: {words.counted(len(results), 'delivery', 'deliveries')}")  # fmt: skip


def webhook_address(url: str | None) -> str:
    """The address to give GitHub, as this page's visitor reaches the portal."""
    parts = urlsplit(url or "")
    base = f"{parts.scheme}://{parts.netloc}" if parts.scheme and parts.netloc else "https://<this portal>"
    return f"{base}{WEBHOOK_PATH}"


def _show_no_secret() -> None:
    address = words.code(webhook_address(st.context.url), longest=200)
    st.warning(
        f"Set {words.code('GITHUB_WEBHOOK_SECRET')} to a secret of your own and start the portal again. At GitHub, "
        f"under Settings, Webhooks, give the same secret, the address {address}, the content type "
        f"{words.code('application/json')}, and the events workflow runs, pull requests and pull request reviews. "
        "Until then results come in by sync alone.",
        title="No webhook secret is set, so every delivery is refused",
        icon=":material/key_off:",
    )


def _show_waiting(edges: Edges, desk: IndexDesk, view: DeliveriesView, now: datetime) -> None:
    kept = [*view.dead_letters, *view.parked]
    with st.container(border=True, gap="small"):
        with st.container(horizontal=True, horizontal_alignment="distribute"):
            st.markdown("**Waiting to be handled**", width="content")
            st.markdown(
                f":small[{_count(view.dead_letters, 'dead letter')}, {_count(view.parked, 'parked', 'parked')}]",
                width="content",
            )
        if not kept:
            st.markdown(":green-badge[:material/check_circle: Nothing waits] Every delivery was handled.")
            return
        chosen = _choose(kept, now)
        _show_replay(edges, desk, chosen)


def _count(found: Sequence[object], noun: str, plural: str | None = None) -> str:
    """Exact, or that there may be more than a reading takes."""
    return f"{SHOWN} or more {plural or noun + 's'}" if len(found) >= SHOWN else words.counted(len(found), noun, plural)


def _choose(kept: Sequence[StoredDelivery], now: datetime) -> Sequence[StoredDelivery]:
    told = "|".join(f"{each.delivery.guid} {each.etag}" for each in kept)
    key = f"index_kept_{hashlib.sha256(told.encode()).hexdigest()[:16]}"
    chosen = [kept[number] for number in selected_rows(key, len(kept))]
    st.dataframe(
        frame(_kept_cells(each, now) for each in kept),
        key=key,
        hide_index=True,
        height="content",
        row_height=ROW_HEIGHT,
        column_config={
            "Kept as": chips(_PLACES.values(), width=120),
            "Came": TextColumn(width=110),
            "Event": TextColumn(width=130),
            "Run": TextColumn(width=150),
            "Why it waits": TextColumn(width=440),
            "Delivery": TextColumn(width=280),
        },
        on_select="rerun",
        selection_mode="multi-row",
        alt="Deliveries that wait, dead letters first, each newest first: "
        + "; ".join(f"{words.visible(each.delivery.event)} {each.delivery.guid}" for each in kept),
    )
    return chosen


def _kept_cells(each: StoredDelivery, now: datetime) -> Mapping[str, Any]:
    delivery = each.delivery
    return {
        "Kept as": [_PLACES[delivery.place].chip],
        "Came": f"{words.lasting(now - delivery.received_at)} ago",
        "Event": delivery.event,
        "Run": f"{delivery.kind.value} / {delivery.run_id}" if delivery.kind and delivery.run_id else "",
        "Why it waits": delivery.why,
        "Delivery": delivery.guid,
    }


def _show_replay(edges: Edges, desk: IndexDesk, chosen: Sequence[StoredDelivery]) -> None:
    refusal = index_acts.why_not(edges, shell.operator(), Right.REPLAY)
    oldest_first = sorted(chosen, key=lambda each: each.delivery.received_at)
    if len(chosen) == 1:
        st.markdown(f"{_PLACES[chosen[0].delivery.place].badge} {words.plain(words.sentence(chosen[0].delivery.why))}")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            f"Replay {words.number(len(chosen))}" if chosen else "Replay",
            key="index_replay",
            icon=":material/replay:",
            type="primary" if chosen else "secondary",
            disabled=not chosen or desk.is_busy or bool(refusal),
            on_click=_replay,
            args=(edges, desk, [each.delivery.guid for each in oldest_first]),
        )
        told = refusal or (
            "A replay handles them as if they came now, the oldest first. What was handled is not kept any longer."
            if chosen
            else "Select deliveries to replay them. A parked one is replayed by itself when a dispatch claims its run."
        )
        st.markdown(f":small[{words.plain(told)}]", width="content")


def _replay(edges: Edges, desk: IndexDesk, guids: Sequence[str]) -> None:
    index_acts.begin_replay(edges, desk, shell.operator(), guids=guids)


def _show_handled(view: DeliveriesView, now: datetime) -> None:
    shown = {
        _ALL: view.handled,
        _APPLIED: [each for each in view.handled if each.applied],
        _UNCORRELATED: view.uncorrelated,
    }
    with st.container(border=True, gap="small"):
        with st.container(horizontal=True, horizontal_alignment="distribute"):
            st.markdown("**Handled by this portal**", width="content")
            st.markdown(":small[newest first]", width="content")
        if not view.handled:
            st.markdown("No delivery was handled yet.")
            return
        labels = {name: f"{name} {words.number(len(found))}" for name, found in shown.items()}
        which = st.pills("Which", list(labels), key=WHICH, label_visibility="collapsed",
                         format_func=labels.__getitem__)  # fmt: skip
        rows = shown[which or _ALL]
        if not rows:
            st.markdown("There is none of these among the last ones.")
            return
        st.dataframe(
            frame(_handled_cells(each, now) for each in rows),
            key="index_handled",
            hide_index=True,
            height="content" if len(rows) <= 15 else 15 * ROW_HEIGHT,
            row_height=ROW_HEIGHT,
            column_config={
                "Came": TextColumn(width=110),
                "Event": TextColumn(width=130),
                "Outcome": chips((_APPLIED_LOOK, _IGNORED_LOOK), width=104),
                "Request": LinkColumn(width=180, display_text=r"id=(.+)"),
                "Why": TextColumn(width=380),
                "Run": TextColumn(width=150),
                "Repo": TextColumn(width=150),
                "Sender": TextColumn(width=110),
            },
            alt=f"Handled deliveries, newest first: {words.counted(len(rows), 'row')}",
        )
        if len(view.handled) >= SHOWN:
            st.markdown(f":small[The last {SHOWN} are shown.]")


def _handled_cells(each: HandledDelivery, now: datetime) -> Mapping[str, Any]:
    return {
        "Came": f"{words.lasting(now - each.received_at)} ago",
        "Event": each.event,
        "Outcome": [(_APPLIED_LOOK if each.applied else _IGNORED_LOOK).chip],
        "Request": shell.request_link(each.request_id) if each.request_id else "",
        "Why": each.reason,
        "Run": f"{each.kind.value} / {each.run_id}" if each.kind and each.run_id else "",
        "Repo": each.repo,
        "Sender": each.sender,
    }


def _show_seen(view: DeliveriesView, now: datetime) -> None:
    if not view.seen_by_web_app:
        return
    count = _count(view.seen_by_web_app, "delivery", "deliveries")
    with st.expander(f"{count} seen by the web app", key="index_seen"):
        st.markdown("The web app says so of deliveries that it failed to store, too. The portal does not build on it.")
        tables.show(
            [
                {
                    "Came (UTC)": words.clock_time(each.received_at, now) if each.received_at else words.NOTHING,
                    "Event": words.plain(each.event),
                    "Delivery": words.code(each.guid),
                    "": ":gray-badge[:material/visibility: seen by the web app]",
                }
                for each in view.seen_by_web_app
            ],
            alt=f"Seen by the web app: {words.counted(len(view.seen_by_web_app), 'row')}",
        )


def _replayed_cells(result: Replayed) -> Mapping[str, str]:
    receipt = result.receipt
    if receipt is None:
        error = result.error
        return {
            "Outcome": ":red-badge[:material/error: failed]",
            "Delivery": words.code(result.guid),
            "Request": "",
            "Why": words.plain(words.sentence(error.message)) if error else "",
        }
    said = [receipt.reason, *receipt.notices]
    return {
        "Outcome": _DISPOSITIONS[receipt.disposition].badge,
        "Delivery": words.code(result.guid),
        "Request": words.plain(receipt.request_id or ""),
        "Why": " ".join(words.plain(words.sentence(text)) for text in said),
    }
