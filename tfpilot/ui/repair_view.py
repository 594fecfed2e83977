"""What a repair would write, what it wrote, and what GitHub did not tell."""

from __future__ import annotations

import streamlit as st

from tfpilot.core.model import SyncMode, SyncResult
from tfpilot.edges import Edges
from tfpilot.operations.browse import RequestView
from tfpilot.ui import facts, looks, shell, steps, tables, words
from tfpilot.ui.desk import Desk, Outcome, Verb, is_outdated


def announce(ended: Outcome | None) -> None:
    """One passing line about what has just ended and changed something."""
    result = ended.result if ended else None
    if result is None or result.dry_run or not result.wrote:
        return
    look = looks.STATUSES[result.explanation.status]
    fields = [words.counted(len(result.plan.changes), "field")] if result.written else []
    st.toast(
        f"{words.plain(result.request.id)}: {', '.join([*fields, *steps.counts_of(result.done)])} written, "
        f"now {look.label.lower()}",
        icon=f":material/{look.icon}:",
        duration="long",
    )


def show_outcome(edges: Edges, desk: Desk) -> None:
    """What a person's last click came to, until the next one."""
    outcome = desk.outcome
    if outcome is None:
        return
    if outcome.error is not None:
        shell.show_error(outcome.error)
        st.button(
            "Try again",
            key="request_again",
            icon=":material/refresh:",
            on_click=desk.begin,
            args=(edges, outcome.verb, shell.operator()),
        )
    elif outcome.result is not None and outcome.verb is not Verb.PREVIEW:
        _show_done(outcome.result)


def show_preview(edges: Edges, view: RequestView, desk: Desk) -> None:
    """The preview that lies on the desk, with the button that makes it true."""
    preview = desk.preview
    if preview is None:
        return
    plan = preview.plan
    st.space("small")
    if not plan.changes and not plan.steps:
        _show_nothing_to_repair(preview, desk)
        return
    outdated = is_outdated(preview, view.stored.document)
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        with st.container(width="content", gap="xsmall"):
            st.markdown(f"**Repair preview: {_size(preview)}** · status {_move(preview)}")
            st.markdown(_promise(preview, view, outdated=outdated))
        with st.container(horizontal=True, width="content"):
            st.button("Discard", key="request_discard", on_click=desk.discard, disabled=desk.is_busy)
            st.button(
                f"Repair: write {_size(preview)}",
                key="request_repair",
                icon=":material/build:",
                type="primary",
                disabled=desk.is_busy or outdated,
                on_click=desk.repair,
                args=(edges, shell.operator()),
                kwargs={"shown": preview},
            )
    _show_gaps(preview)
    tables.show_changes(plan.changes, written=False, steps=plan.steps)


def _show_nothing_to_repair(preview: SyncResult, desk: Desk) -> None:
    as_far = "As far as GitHub answered, the" if preview.degraded else "The"
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(
            f"**Repair preview: nothing to write** · {as_far} document says what GitHub says: a repair would write "
            "nothing.",
            width="content",
        )
        st.button("Discard", key="request_discard", on_click=desk.discard)
    _show_gaps(preview)


def _promise(preview: SyncResult, view: RequestView, *, outdated: bool) -> str:
    if outdated:
        return (
            f":material/block: The document has changed since, it is at version {view.request.version} now: preview "
            "the repair again."
        )
    if not preview.plan.changes:
        todo = ", ".join(steps.text_of(step) for step in preview.plan.steps)
        return f"Nothing is written yet. The document says what GitHub says. Repairing does the rest: {todo}."
    version = preview.request.version
    return (
        f"Nothing is written yet. Repairing asks GitHub again and writes version {version + 1} if the document is "
        f"still at version {version}; else it plans anew."
    )


def _size(result: SyncResult) -> str:
    fields = [words.counted(len(result.plan.changes), "field")] if result.plan.changes else []
    return ", ".join([*fields, *steps.counts_of(result.plan.steps)])


def _move(result: SyncResult) -> str:
    before, after = result.plan.status_before, result.plan.status_after
    if before is after:
        return f"stays {looks.STATUSES[after].badge}"
    return f"{looks.STATUSES[before].badge} :material/arrow_forward: {looks.STATUSES[after].badge}"


def _show_done(result: SyncResult) -> None:
    if not result.asked:
        st.info(
            f"GitHub was not asked, because {words.plain(result.reason)}. A repair always asks.",
            title="Nothing was written",
            icon=":material/info:",
        )
    elif not result.wrote:
        st.info("The document says what GitHub says.", title="Nothing was written", icon=":material/check_circle:")
    elif not result.written:
        st.success(
            f"The document says what GitHub says. Beside it: {', '.join(steps.counts_of(result.done))}.",
            title="Repaired" if result.mode is SyncMode.REPAIR else "Synced",
            icon=":material/check_circle:",
        )
    else:
        beside = "".join(f", {count}" for count in steps.counts_of(result.done))
        st.success(
            f"Version {result.request.version} is stored: {words.counted(len(result.plan.changes), 'field')}{beside} "
            f"written. Status {_move(result)}",
            title="Repaired" if result.mode is SyncMode.REPAIR else "Synced",
            icon=":material/check_circle:",
        )
    if result.cleanup:
        st.info(words.plain(words.sentence(f"The cleanup was dispatched: {result.cleanup}")), icon=":material/bolt:")
    for notice in result.notices:
        st.warning(words.plain(words.sentence(notice)), icon=":material/warning:")
    _show_gaps(result)
    if result.wrote:
        st.markdown("**What was written**")
        tables.show_changes(result.plan.changes if result.written else (), written=True, steps=result.done)


def _show_gaps(result: SyncResult) -> None:
    """Fields left as they are, runs of somebody else, and facts that could not be learned, with what that means."""
    if result.plan.obstacles:
        st.warning(
            f"{words.plain(words.sentence('; '.join(result.plan.obstacles)))} Correct the document by hand, or restore "
            "an earlier version of it.",
            title="A repair leaves these fields as they are",
            icon=":material/block:",
        )
    gaps = facts.unlearned(result)
    if not gaps:
        return
    wait = f" GitHub asked us to wait {words.lasting(result.retry_after)}." if result.retry_after else ""
    st.warning(
        f"{words.plain(words.sentence('; '.join(gaps)))} The stored facts are kept.{wait}",
        title=f"GitHub did not tell everything: {words.counted(len(gaps), 'fact')} missing",
        icon=":material/help:",
    )
