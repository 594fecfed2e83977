"""What a second admin is asked: the same plan as it is read now, its guards, and a yes to exactly its digest."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import streamlit as st

from tfpilot.core.reset_confirm import ApprovalRequest
from tfpilot.core.roles import Right
from tfpilot.core.sign_in import is_fresh
from tfpilot.edges import Edges
from tfpilot.operations.reset_approval import find_approval, plan_to_approve
from tfpilot.ui import (
    reset_acts,
    reset_address,
    reset_fresh,
    reset_guards_view,
    reset_header,
    reset_looks,
    reset_review,
    reset_scope,
    shell,
    words,
)
from tfpilot.ui.reset_desk import ResetDesk, person
from tfpilot.ui.reset_made import MadePlan, made_of

_LOOK_OFTEN: Final = timedelta(milliseconds=500)


def show(edges: Edges, desk: ResetDesk, digest: str) -> None:
    """The whole view."""
    _begin_reading(edges, desk, digest)
    if desk.approval.error is not None:
        reset_header.show_reading_error(desk.approval.error, title="The question could not be read",
                                        key="reset_approval_again", desk=desk)  # fmt: skip
    request, approval = desk.approval.value_of(digest) or (None, None)
    if approval is not None:
        at = reset_looks.day(approval.at)
        st.success(f"{words.plain(approval.login)} approved it at {at} UTC. It counts for this digest only.",
                   title="Approved", icon=":material/how_to_reg:")  # fmt: skip
    found = desk.to_approve.value
    if found is None or found[0].digest != digest:
        _show_why_not(edges, desk, request)
        return
    _show_question(edges, desk, *found, is_approved=approval is not None)
    reset_review.show_plan(edges, found[1])


def _begin_reading(edges: Edges, desk: ResetDesk, digest: str) -> None:
    operator, chosen, now = shell.operator(), reset_scope.choices(), edges.clock()

    def read() -> tuple[ApprovalRequest, MadePlan]:
        request, plan = plan_to_approve(edges, digest, chosen, operator=operator)
        return request, made_of(plan, chosen, reason=request.reason)

    what = (digest, chosen.accepts_no_versioning, chosen.accepts_most_requests, person(operator))
    desk.to_approve.want(what, read, now=now)
    desk.approval.want(digest, lambda: find_approval(edges, digest), now=now)


def _show_why_not(edges: Edges, desk: ResetDesk, request: ApprovalRequest | None) -> None:
    """The plan is being read, or cannot be approved as it is now."""
    if desk.to_approve.error is not None:
        shell.show_error(desk.to_approve.error, title="There is no plan to approve")
        with st.container(horizontal=True):
            st.button("Try again", key="reset_approve_again", icon=":material/refresh:", on_click=desk.look_again)
            st.button("New reset", key="reset_approve_new", icon=":material/restart_alt:", on_click=_leave, args=("",))
        if request is not None and any(target.name == request.target for target in edges.resets.targets):
            reset_guards_view.begin(edges, desk, request.target, reset_scope.choices())
            reset_scope.show_acceptances(reset_guards_view.last(desk, request.target))
            reset_guards_view.show(edges, desk, request.target, reset_scope.choices())
        return
    reading = desk.to_approve

    def draw() -> None:
        st.progress(0.0, text="Reading everything that the plan is of, as it is now.")

    reset_header.watch(desk, lambda: reading.is_busy, draw, every=_LOOK_OFTEN)
    st.skeleton(300)


def _show_question(
    edges: Edges, desk: ResetDesk, request: ApprovalRequest, made: MadePlan, *, is_approved: bool
) -> None:
    operator = shell.operator()
    refusal = reset_acts.why_not(edges, operator, made.plan.target.environment, Right.APPROVE_RESET)
    if not refusal and operator.login.casefold() == request.asked_by.casefold():
        refusal = f"{operator.login} made this plan. A second admin approves it."
    needs_sign_in = not refusal and not is_approved and not is_fresh(operator, edges.clock())
    if needs_sign_in:
        refusal = "Sign in again first."
    with st.container(border=True, gap="small"):
        st.markdown(f"**{words.plain(request.asked_by)} asks for a second admin**")
        st.markdown(f"Reset of {words.plain(request.target)}, asked at {reset_looks.day(request.at)} UTC. Reason: "
                    f"{words.plain(words.sentence(request.reason))} What is below was read just now; it has the digest "
                    f"{reset_looks.short(made.digest)} that was asked for.")  # fmt: skip
        if needs_sign_in:
            reset_fresh.show(key="reset_approve_sign_in_again")
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button(
                f"Approve {made.digest[:6]}",
                key="reset_approve",
                icon=":material/how_to_reg:",
                type="primary",
                disabled=bool(refusal) or desk.is_busy or is_approved,
                on_click=_approve,
                args=(edges, desk, made),
            )
            told = "" if is_approved else refusal or "Nothing is changed by it: who made the plan carries it out."
            st.markdown(words.plain(told) if told else "", width="stretch")


def _approve(edges: Edges, desk: ResetDesk, made: MadePlan) -> None:
    reset_address.touched()
    reset_acts.begin_approve(edges, desk, shell.operator(), digest=made.digest, choices=made.choices)


def _leave(target: str) -> None:
    reset_address.touched()
    reset_address.show_target(target)
