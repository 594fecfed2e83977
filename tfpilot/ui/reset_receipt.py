"""Step 5, Receipt: what was done, what was kept and why, what to do next, and the way back."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import streamlit as st

from tfpilot.core.reset_journal import Stage
from tfpilot.core.reset_plan import StateMode
from tfpilot.core.reset_receipt import Receipt, next_actions, receipt_markdown, render_receipt
from tfpilot.core.reset_steps import RESETS, Action, Outcome
from tfpilot.core.reset_target import BACKUP_PREFIX
from tfpilot.edges import Edges
from tfpilot.ui import reset_looks, reset_run, reset_undo, tables, words
from tfpilot.ui.reset_desk import ResetDesk
from tfpilot.ui.reset_looks import second, short
from tfpilot.ui.reset_seen import SeenReset

_KEPT_SHOWN: Final = 50


def show(edges: Edges, desk: ResetDesk, seen: SeenReset) -> None:
    """The step."""
    _show_banner(seen)
    left, right = st.columns((7, 5))
    with left:
        _show_receipt(seen)
        _show_kept(seen.receipt)
    with right:
        if seen.receipt.stage is Stage.UNDONE:
            reset_undo.show_undone(seen)
        elif seen.receipt.undo_until is not None:
            reset_undo.show(edges, desk, seen)
        _show_next(seen.receipt)
    with st.expander(f"Steps and journal: {words.counted(len(seen.view.stored.entries), 'record')}",
                     key="reset_receipt_journal", icon=":material/receipt_long:"):  # fmt: skip
        reset_run.lines_table(seen, is_running=False)
        if seen.journal:
            st.code("\n".join(seen.journal), language=None)


def _show_banner(seen: SeenReset) -> None:
    receipt, target = seen.receipt, words.plain(seen.target)
    ended = f" at {second(receipt.ended_at)}" if receipt.ended_at else ""
    released = "" if seen.holds_lock else " Terraform's lock is released."
    if receipt.stage is Stage.REFUSED:
        why = " ".join(words.plain(words.sentence(reason)) for reason in seen.refusals)
        title = f"Reset of {target} was refused{ended}"
        st.error(f"{why} Nothing was changed.{released}", title=title, icon=":material/block:")
    elif receipt.stage is Stage.UNDONE:
        text = f"Reset of {target} was undone{ended}: {words.counted(len(receipt.undone), 'place')} put back.{released}"
        outcomes = seen.view.progress.outcomes
        kept = sum(outcomes.get(step.id) is Outcome.LEFT for step in seen.undo_steps)
        left = f"{words.counted(kept, 'place was', 'places were')} not as the reset left it, and stays so."
        _tell(text, left=left if kept else "", icon="undo")
    else:
        emptied = " emptied" if seen.view.plan.state_mode is StateMode.EMPTY else ""
        done = f"{_states(receipt)}{emptied}, {_requests(receipt)}, {_entries(receipt)}"
        left = f"{words.counted(len(receipt.kept), 'place was', 'places were')} left as found."
        _tell(
            f"Reset of {target} finished{ended}: {done}.{released}",
            left=left if receipt.kept else "",
            icon="check_circle",
        )


def _tell(text: str, *, left: str, icon: str) -> None:
    """Green where nothing was left as it was found; else a warning that says how much was."""
    if left:
        st.warning(f"{text} {left}", icon=f":material/{icon}:")
    else:
        st.success(text, icon=f":material/{icon}:")


def _show_receipt(seen: SeenReset) -> None:
    receipt = seen.receipt
    record = receipt.record
    with st.container(border=True, gap="small"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.markdown("**Receipt**", width="content")
            st.markdown(f":small[{words.plain(record.reset_id)}]", width="content")
        rows = [
            ("Who", f"{words.plain(record.operator)}, second admin: {words.plain(record.approved_by) or 'none'}"),
            ("When", _when(receipt)),
            ("Reason", words.plain(record.reason)),
            ("Plan digest", short(seen.digest)),
            *_state_rows(seen),
            ("State backup", words.code(f"{BACKUP_PREFIX}{record.reset_id}/")),
            ("Requests", _requests_told(receipt)),
            ("Index entries", _entries_told(receipt)),
        ]
        tables.show([{"What": what, "Value": value} for what, value in rows], alt=f"Receipt of {record.reset_id}")
        with st.container(horizontal=True):
            st.download_button(
                "Receipt as JSON",
                data=lambda: render_receipt(receipt),
                file_name=f"{record.reset_id}.json",
                mime="application/json",
                key="reset_receipt_json",
                icon=":material/download:",
                on_click="ignore",
            )
            st.download_button(
                "As Markdown",
                data=lambda: receipt_markdown(receipt),
                file_name=f"{record.reset_id}.md",
                mime="text/markdown",
                key="reset_receipt_markdown",
                icon=":material/download:",
                on_click="ignore",
            )


def _when(receipt: Receipt) -> str:
    began = receipt.record.started_at
    if receipt.ended_at is None:
        return f"{reset_looks.day(began)} UTC"
    took = reset_looks.took(receipt.ended_at - began)
    if receipt.ended_at - began > timedelta(days=1):
        return f"{reset_looks.day(began)} to {reset_looks.day(receipt.ended_at)} UTC"
    return f"{began.day} {began:%b %Y}, {second(began)} to {second(receipt.ended_at)} UTC, {took}"


def _state_rows(seen: SeenReset) -> list[tuple[str, str]]:
    rows = []
    for state in seen.view.plan.states:
        if state.state is None:
            rows.append(("State before", f"{words.code(state.object_key)} none"))
            continue
        version = f" version {short(state.state.version_id)}" if state.state.version_id else ""
        md5 = f", md5 {short(state.md5, head=4)}" if state.md5 else ""
        rows.append(("State before", f"{words.code(state.object_key)}{version}{md5}"))
    return rows


def _states(receipt: Receipt) -> str:
    return words.counted(receipt.count(Action.REMOVE_STATE) + receipt.count(Action.WRITE_STATE), "state")


def _requests(receipt: Receipt) -> str:
    return words.counted(receipt.count(Action.REMOVE_REQUEST), "request")


def _entries(receipt: Receipt) -> str:
    return words.counted(receipt.count(Action.REMOVE_ENTRY), "index entry", "index entries")


def _requests_told(receipt: Receipt) -> str:
    done, total = receipt.count(Action.REMOVE_REQUEST), len(receipt.plan.requests)
    kept = f", {words.number(total - done)} kept" if done < total else ""
    return f"{words.number(done)} archived{kept}{_taken_back(receipt)}"


def _entries_told(receipt: Receipt) -> str:
    if not receipt.plan.with_index:
        return "left as they are"
    done, total = receipt.count(Action.REMOVE_ENTRY), len(receipt.plan.entries)
    kept = f", {words.number(total - done)} kept" if done < total else ""
    backup = words.code(f"{RESETS}{receipt.record.reset_id}/")
    return f"{words.number(done)} removed{kept}{_taken_back(receipt)}, backup under {backup}"


def _taken_back(receipt: Receipt) -> str:
    return ", then undone" if receipt.stage is Stage.UNDONE else ""


def _show_kept(receipt: Receipt) -> None:
    if not receipt.kept:
        return
    with st.container(border=True, gap="small"):
        st.markdown(f"**Left as they are: {words.number(len(receipt.kept))}**")
        rows = [
            {"What": words.code(each.subject), "Place": words.plain(each.place), "Why": words.plain(each.reason)}
            for each in receipt.kept[:_KEPT_SHOWN]
        ]
        tables.show(rows, alt=f"Left as they are: {words.counted(len(receipt.kept), 'place')}")
        if len(receipt.kept) > _KEPT_SHOWN:
            st.markdown(f"The first {_KEPT_SHOWN} are shown; the receipt as JSON lists all.")


def _show_next(receipt: Receipt) -> None:
    actions = next_actions(receipt)
    if not actions:
        return
    with st.container(border=True, gap="small"):
        st.markdown("**What to do next**")
        st.markdown("\n".join(f"{number}. {words.plain(action)}" for number, action in enumerate(actions, 1)))
