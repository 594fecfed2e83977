"""Dispatching from a request's page: the buttons with their reasons, and the confirmation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import streamlit as st

from tfpilot.core.dispatch import DispatchOrder
from tfpilot.core.intents import holds_lock
from tfpilot.core.model import WorkflowKind
from tfpilot.core.roles import Right
from tfpilot.edges import Edges
from tfpilot.operations.browse import RequestView
from tfpilot.operations.offers import Offer
from tfpilot.operations.rights import find_refusal
from tfpilot.ui import shell, words
from tfpilot.ui.desk import Desk
from tfpilot.ui.dispatch_tasks import NAMES, ClearLock, Proposal

Offers = Mapping[WorkflowKind, Offer]

IN_ROW: Final = (WorkflowKind.PLAN, WorkflowKind.APPLY, WorkflowKind.DESTROY)
_IN_MENU: Final = (WorkflowKind.CLEANUP, WorkflowKind.DRIFT_PLAN)
_BUTTONS: Final[Mapping[WorkflowKind, tuple[str, str]]] = {
    WorkflowKind.PLAN: ("Plan again", "replay"),
    WorkflowKind.APPLY: ("Apply", "play_arrow"),
    WorkflowKind.DESTROY: ("Destroy", "delete"),
    WorkflowKind.CLEANUP: ("Cleanup", "cleaning_services"),
    WorkflowKind.DRIFT_PLAN: ("Drift check", "difference"),
}
_REMOVING: Final = (WorkflowKind.DESTROY, WorkflowKind.CLEANUP)
_MENU: Final = "request_more"
_TYPED: Final = "request_typed_id"


def show_buttons(desk: Desk, offered: Offers) -> None:
    """Plan again, Apply and Destroy, in the row of the page's actions."""
    for kind in IN_ROW:
        _button(desk, offered[kind])


def show_menu(edges: Edges, view: RequestView, desk: Desk, offered: Offers) -> None:
    """The rarer ones behind More, each with its reason where it is off."""
    with st.popover("More", key=_MENU, on_change="rerun"):
        for kind in _IN_MENU:
            _button(desk, offered[kind])
            refusal = offered[kind].refusal
            if refusal is not None:
                st.markdown(f":material/block: {words.plain(words.sentence(refusal))}")
        show_lock_release(edges, view, desk, key="request_more_unlock")


def reasons(offered: Offers) -> str:
    """Why the buttons in the row are off, those with the same reason together; empty where all are on."""
    by_reason: dict[str, list[str]] = {}
    for kind in IN_ROW:
        refusal = offered[kind].refusal
        if refusal is not None:
            by_reason.setdefault(refusal, []).append(_BUTTONS[kind][0])
    told = [f"{', '.join(labels)}: {words.plain(_end(reason))}" for reason, labels in by_reason.items()]
    return " ".join(told)


def show_lock_release(edges: Edges, view: RequestView, desk: Desk, *, key: str) -> None:
    """Clearing a lock whose time is over; nothing where there is none or somebody holds it."""
    if view.archived or view.request.lock is None or holds_lock(view.request, view.at) is not None:
        return
    environment = view.request.environment
    refusal = shell.told(find_refusal(edges, shell.operator(), Right.CLEAR_LOCK, environment=environment))
    st.button(
        "Clear expired lock",
        key=key,
        icon=":material/lock_open:",
        disabled=refusal is not None or desk.is_busy,
        on_click=desk.act,
        args=(edges, ClearLock(), shell.operator()),
    )
    holder = words.plain(view.request.lock.holder)
    st.markdown(
        f":material/block: {words.plain(words.sentence(refusal))}"
        if refusal
        else f"Left behind by {holder}. It blocks nothing: the next dispatch takes it over."
    )


def show_proposal(edges: Edges, view: RequestView, desk: Desk, offered: Offers) -> None:
    """What the proposed dispatch would do, and the button that does it; nothing where none is proposed."""
    proposal = desk.proposal
    if proposal is None:
        return
    offer = offered[proposal.kind]
    with st.container(border=True, gap="small", key="request_proposal"):
        st.markdown(f"**{_question(view, proposal.kind)}**")
        if offer.order is None:
            st.markdown(f":material/block: {words.plain(words.sentence(offer.refusal or ''))}")
            st.button("Cancel", key="request_cancel", on_click=desk.withdraw)
            return
        _show_order(view, offer, offer.order)
        _show_confirmation(edges, desk, proposal)


def _button(desk: Desk, offer: Offer) -> None:
    label, icon = _BUTTONS[offer.kind]
    st.button(
        label,
        key=f"request_{offer.kind.value}",
        icon=f":material/{icon}:",
        disabled=offer.refusal is not None or desk.is_busy,
        on_click=_propose,
        args=(desk, offer.kind),
    )


def _propose(desk: Desk, kind: WorkflowKind) -> None:
    """Closes the menu too: it would lie over what is to be confirmed."""
    st.session_state[_MENU] = False
    desk.propose(kind)


def _end(reason: str) -> str:
    return reason if reason.endswith(".") else f"{reason}."


def _question(view: RequestView, kind: WorkflowKind) -> str:
    verb = {
        WorkflowKind.PLAN: "Plan {id} again",
        WorkflowKind.APPLY: "Apply {id}",
        WorkflowKind.DESTROY: "Destroy {id}",
        WorkflowKind.CLEANUP: "Clean up after {id}",
        WorkflowKind.DRIFT_PLAN: "Check {id} for drift",
    }[kind]
    return verb.format(id=words.plain(view.request.id))


def _show_order(view: RequestView, offer: Offer, order: DispatchOrder) -> None:
    st.markdown(" ".join(_consequences(view, offer, order)))
    inputs = " · ".join(f"{words.code(name)} = {words.code(value)}" for name, value in order.inputs.items())
    st.markdown(
        f"Starts {words.code(order.workflow_file)} on {words.code(order.ref)} of {words.plain(order.repo)} · "
        f"environment {words.code(view.request.environment)} · inputs {inputs}"
    )


def _consequences(view: RequestView, offer: Offer, order: DispatchOrder) -> Iterator[str]:
    environment = words.code(view.request.environment)
    if offer.kind is WorkflowKind.PLAN:
        yield "Terraform plans the request's branch once more. A plan changes no infrastructure: there is nothing to"
        yield "undo."
    elif offer.kind is WorkflowKind.APPLY:
        yield f"Terraform changes the infrastructure in {environment} to what is merged. This cannot be undone from"
        yield "here; what an apply made, a destroy removes."
    elif offer.kind is WorkflowKind.DRIFT_PLAN:
        yield f"Terraform compares the infrastructure in {environment} with what was applied. It changes nothing: there"
        yield "is nothing to undo."
    elif offer.kind is WorkflowKind.DESTROY:
        yield f":red[:material/warning:] Terraform removes the infrastructure of this request in {environment}."
        yield "**This cannot be undone.** Once it has succeeded, the cleanup of its files is dispatched, once."
        if offer.asks_github:
            yield "GitHub is asked first what became of the last destroy: only one that is known to have failed is"
            yield "repeated."
    else:
        yield from _cleanup_consequences(order)


def _cleanup_consequences(order: DispatchOrder) -> Iterator[str]:
    merges = order.inputs.get("auto_merge") == "true"
    yield ":red[:material/warning:] The infrastructure is removed already. A pull request is opened that removes"
    yield f"the request's files from {words.code(order.ref)}{', and merges it by itself' if merges else ''}."
    yield "**This cannot be undone from here**: only a revert on GitHub brings the files back."
    if not merges:
        yield "A person has to merge that pull request."


def _show_confirmation(edges: Edges, desk: Desk, proposal: Proposal) -> None:
    if proposal.kind is not WorkflowKind.DESTROY:
        with st.container(horizontal=True):
            _show_fire(edges, desk, proposal)
        return
    # In a form, what was typed and the click arrive together; Enter alone does not send it.
    with st.form("request_destroy_form", border=False, enter_to_submit=False):
        st.text_input("Type the id of the request to confirm", key=_TYPED, max_chars=200, width=360)
        if proposal.is_mistyped:
            st.markdown(":red[:material/block: What was typed is not the id of this request. Nothing was started.]")
        with st.container(horizontal=True):
            st.form_submit_button("Cancel", key="request_cancel", on_click=desk.withdraw)
            st.form_submit_button(
                f"Destroy {desk.request_id}",
                key="request_fire",
                icon=":material/delete:",
                type="primary",
                disabled=desk.is_busy,
                on_click=_confirm_typed,
                args=(edges, desk, proposal),
            )


def _show_fire(edges: Edges, desk: Desk, proposal: Proposal) -> None:
    icon = _BUTTONS[proposal.kind][1]
    st.button("Cancel", key="request_cancel", on_click=desk.withdraw)
    st.button(
        f"Start the {NAMES[proposal.kind]}",
        key="request_fire" if proposal.kind in _REMOVING else "request_start",
        icon=f":material/{icon}:",
        type="primary",
        disabled=desk.is_busy,
        on_click=desk.confirm,
        args=(edges, shell.operator()),
        kwargs={"shown": proposal},
    )


def _confirm_typed(edges: Edges, desk: Desk, proposal: Proposal) -> None:
    typed: str = st.session_state.get(_TYPED, "")
    desk.confirm(edges, shell.operator(), shown=proposal, typed=typed)
