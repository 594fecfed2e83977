"""The upper half of a request's page: where it stands, why, and what can be done about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import groupby
from typing import Final

import streamlit as st

from tfpilot.core.lifecycle import RULES
from tfpilot.core.model import ACTIVE_STATUSES, FactUsed, WorkflowKind, is_drift
from tfpilot.edges import Edges
from tfpilot.errors import DocumentError, GitHubError, NotFoundError, StorageError
from tfpilot.operations.browse import RequestView
from tfpilot.operations.offers import offers
from tfpilot.ui import (
    dispatch_open,
    dispatch_outcome,
    dispatch_view,
    filters,
    links,
    looks,
    request_panel,
    shell,
    words,
)
from tfpilot.ui.desk import Desk, Verb

_LOOK_OFTEN: Final = timedelta(milliseconds=500)
_LOOK_AT_ACTIVE: Final = timedelta(seconds=5)
_DOING: Final = {
    Verb.OPEN: "Asking GitHub",
    Verb.PREVIEW: "Asking GitHub for a preview",
    Verb.SYNC: "Syncing",
    Verb.REPAIR: "Repairing",
}


def show_header(edges: Edges, view: RequestView, desk: Desk) -> None:
    """The id with its chips, when GitHub last answered, and Refresh."""
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        with st.container(horizontal=True, width="content", vertical_alignment="center"):
            st.title(view.request.id, anchor=False, width="content")
            st.markdown(request_panel.badges(view), width="content")
        _watch(edges, view, desk)
    with st.container(horizontal=True, wrap=False, gap="xsmall"):
        st.page_link(shell.REQUESTS_PAGE, label="Requests", query_params=filters.last_address())
        st.markdown(f"/ {' · '.join(_belongings(view))}", width="stretch")


def show_none_chosen() -> None:
    """The page was opened without saying which request."""
    st.title("Request", anchor=False)
    st.info("No request was chosen. Choose one from the list, or look for it by id, PR number, run id, branch or sha.")
    st.page_link(shell.REQUESTS_PAGE, label="All requests", icon=":material/inbox:")


def _watch(edges: Edges, view: RequestView, desk: Desk) -> None:
    """When GitHub answered, or what is being done. Asks for a new page on every tick while there is news."""
    waiting = desk.is_busy or desk.looking is not None
    is_active = view.explanation.status in ACTIVE_STATUSES and not view.archived
    often = _LOOK_OFTEN if waiting else _LOOK_AT_ACTIVE if is_active else None

    @st.fragment(run_every=often)
    def tick() -> None:
        if desk.has_news or (is_active and not waiting and (desk.may_look(edges) or _has_changed(edges, view))):
            st.rerun()
        with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center"):
            st.markdown(_github_badge(edges, view, desk), width="content")
            if st.button("Refresh", key="request_refresh", icon=":material/refresh:", shortcut="u"):
                st.rerun()

    tick()


def _github_badge(edges: Edges, view: RequestView, desk: Desk) -> str:
    doing = _doing(desk) or (_DOING[desk.looking.verb] if desk.looking is not None else None)
    if doing is not None:
        return f":blue-badge[:material/sync: {doing}]"
    answered = view.checked.at if view.checked and view.checked.facts else None
    label = "GitHub answered {age} ago" if answered else "GitHub has not answered yet"
    return shell.age_badge(label, answered, edges.clock())


def _doing(desk: Desk) -> str | None:
    """What a person asked for that is under way."""
    if desk.deed is not None:
        return desk.deed.task.doing
    return _DOING[desk.errand.verb] if desk.errand is not None else None


def _has_changed(edges: Edges, view: RequestView) -> bool:
    """Whether something else is stored by now. Where storage does not answer, the next tick asks again."""
    try:
        return edges.documents.get(view.request.id).etag != view.stored.etag
    except StorageError:
        return False
    except (NotFoundError, DocumentError):
        return True


def _belongings(view: RequestView) -> Iterator[str]:
    request = view.request
    yield words.plain(request.environment or "no environment")
    yield words.plain(request.project or "no project")
    yield words.code(request.module) or "no module"
    pull_url = (request.pull.url if request.pull else None) or ""
    if request.repo is not None:
        yield links.link(str(request.repo), pull_url.partition("/pull/")[0])
    if request.pr_number is not None:
        yield links.link(f"PR #{request.pr_number}", pull_url)
    if request.branch:
        yield f"branch {words.code(request.branch)}"
    if request.created_by:
        yield f"by {words.plain(request.created_by)}"
    yield f"version {request.version}"


def show_why(view: RequestView) -> None:
    """The status with the rule that fired and the stored facts it used."""
    explanation = view.explanation
    label = looks.STATUSES[explanation.status].label
    with st.container(border=True, gap="xsmall"):
        st.markdown(
            f"**{label}, because {words.plain(explanation.reason)}** "
            f"(rule {explanation.rule}: {RULES[explanation.rule]})"
        )
        used = " · ".join(_grouped(explanation.facts)) or "none"
        st.markdown(f"Facts used: {used}. {_drift(view)}")


def _grouped(facts: Iterable[FactUsed]) -> Iterator[str]:
    """The fields of one object together: `planRun` status = `queued`, attempt = `1`."""
    for parent, fields in groupby(facts, key=lambda fact: fact.path.rpartition(".")[0]):
        told = [(fact.path.rpartition(".")[2], words.code(fact.value)) for fact in fields]
        if parent:
            yield f"{words.code(parent)} {', '.join(f'{name} = {value}' for name, value in told)}"
        else:
            yield from (f"{words.code(name)} = {value}" for name, value in told)


def _drift(view: RequestView) -> str:
    stored = view.request.stored_status
    if is_drift(stored, view.explanation.status):
        return f"The stored status says {words.code(stored)}: drift."
    return "The stored status says the same: no drift." if stored == view.explanation.status.value else "No drift."


def show_actions(edges: Edges, view: RequestView, desk: Desk) -> None:
    """What can be done about the request, and the same as commands; what cannot be done says why."""
    offered = offers(edges, view, operator=shell.operator())
    is_acting_elsewhere = desk.preview is not None or desk.proposal is not None
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Preview repair",
            key="request_preview",
            icon=":material/build:",
            type="secondary" if is_acting_elsewhere else "primary",
            disabled=view.archived or desk.is_busy,
            on_click=desk.begin,
            args=(edges, Verb.PREVIEW, shell.operator()),
        )
        st.button(
            "Sync",
            key="request_sync",
            icon=":material/sync:",
            disabled=view.archived or desk.is_busy,
            on_click=desk.begin,
            args=(edges, Verb.SYNC, shell.operator()),
        )
        dispatch_view.show_buttons(desk, offered)
        dispatch_view.show_menu(edges, view, desk, offered)
        with st.popover("Command", icon=":material/terminal:", key="request_command"):
            _show_commands(view.request.id)
    st.markdown(_standing(view, desk, dispatch_view.reasons(offered)))
    dispatch_view.show_proposal(edges, view, desk, offered)
    dispatch_outcome.show_outcome(desk)
    dispatch_open.show(edges, view, desk)


def _standing(view: RequestView, desk: Desk, reasons: str) -> str:
    if view.archived:
        return ":material/block: Everything that writes is off: nothing writes an archived request."
    doing = _doing(desk)
    if doing is not None:
        return f":material/hourglass_top: {doing}. It goes on if you leave the page."
    if reasons:
        return f":material/block: {reasons}"
    return "A preview asks GitHub and writes nothing. Sync asks GitHub only where that can settle something."


def _show_commands(request_id: str) -> None:
    st.markdown("The same from a terminal:")
    st.code(
        f"python -m tfpilot sync {request_id} --repair --dry-run\n"
        f"python -m tfpilot sync {request_id} --repair\n"
        f"python -m tfpilot requests show {request_id}\n"
        f"python -m tfpilot dispatch KIND {request_id}",
        language=None,
    )
    kinds = ", ".join(words.code(kind.value) for kind in WorkflowKind)
    st.markdown(f"KIND is {kinds}. The same over HTTP, without dispatching:")
    st.code(
        f'curl -H "Authorization: Bearer $GITHUB_TOKEN" \\\n'
        f'  "$PORTAL/api/requests/{request_id}/sync?repair=1&dry_run=1"',
        language=None,
    )


def show_banners(view: RequestView, desk: Desk) -> None:
    """What a person must know before reading on: read only, twin, what the portal's own question met."""
    if view.archived:
        st.warning(
            f"Only the archived copy in {words.code(f'history/{view.request.id}.json')} exists. It can be read; "
            "nothing writes it.",
            title="Archived",
            icon=":material/inventory_2:",
        )
    if view.has_archived_copy:
        st.info(
            "An archived copy of this request exists too. The active document counts; the copy is under Raw JSON.",
            icon=":material/content_copy:",
        )
    if desk.opening is not None and desk.opening.error is not None:
        error = desk.opening.error
        st.warning(
            f"{words.plain(words.sentence(error.message))} What is shown is what is stored.",
            title=(
                "GitHub could not be asked when the page was opened"
                if isinstance(error, GitHubError)
                else "The request could not be synced when the page was opened"
            ),
            icon=":material/cloud_off:",
        )
