"""Step 3, Confirm: what happens in one sentence, what a person has to give, and what is checked once more."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

import streamlit as st

from tfpilot.core.reset_confirm import Acknowledgement, phrase_of, sentence_of
from tfpilot.core.reset_plan import StateMode
from tfpilot.core.sign_in import is_fresh
from tfpilot.edges import Edges
from tfpilot.errors import TfPilotError
from tfpilot.operations.reset import Confirmation
from tfpilot.operations.reset_approval import find_approval
from tfpilot.operations.reset_views import compare_plan
from tfpilot.ui import (
    reset_acts,
    reset_address,
    reset_fresh,
    reset_guards_view,
    reset_header,
    reset_looks,
    shell,
    tables,
    words,
)
from tfpilot.ui.reset_deeds import Deed, DeedVerb
from tfpilot.ui.reset_desk import GUARDS_EVERY, ResetDesk, Step
from tfpilot.ui.reset_looks import short
from tfpilot.ui.reset_made import MadePlan

TYPED: Final = "reset_typed"
_ACKNOWLEDGED: Final = {each: f"reset_acknowledged_{each.value}" for each in Acknowledgement}
_TICK: Final = timedelta(seconds=2)
_LOOK_OFTEN: Final = timedelta(milliseconds=500)


def show(edges: Edges, desk: ResetDesk, made: MadePlan) -> None:
    """The step."""
    _begin_looking(edges, desk, made)
    left, right = st.columns((7, 5))
    with left, st.container(border=True, gap="small"):
        _show_confirm(edges, desk, made)
    with right:
        _show_checks(edges, desk, made)


def forget_what_was_given() -> None:
    """Another plan: nothing of it is acknowledged or typed."""
    st.session_state[TYPED] = ""
    for key in _ACKNOWLEDGED.values():
        st.session_state[key] = False


def _begin_looking(edges: Edges, desk: ResetDesk, made: MadePlan) -> None:
    now = edges.clock()
    reset_guards_view.begin(edges, desk, made.target, made.choices)
    desk.approval.renew(after=GUARDS_EVERY, now=now)
    desk.approval.want(made.digest, lambda: find_approval(edges, made.digest), now=now)
    desk.compared.want(made.digest, lambda: compare_plan(edges, made.plan), now=now)


def _show_confirm(edges: Edges, desk: ResetDesk, made: MadePlan) -> None:
    st.markdown("**Confirm**")
    st.error(_summary(edges, made), icon=":material/cancel:")
    _show_failure(desk)
    if desk.deed is not None:
        _show_beginning(desk, desk.deed)
    for each in Acknowledgement:
        st.checkbox(words.plain(sentence_of(made.plan, each)), key=_ACKNOWLEDGED[each], persist_state="session",
                    on_change=reset_address.touched)  # fmt: skip
    st.text_input(f"Type {words.code(phrase_of(made.plan))}", key=TYPED, max_chars=120, persist_state="session",
                  autocomplete="off", on_change=reset_address.touched)  # fmt: skip
    why_not = next(_why_not(edges, desk, made), "")
    if not is_fresh(shell.operator(), edges.clock()):
        reset_fresh.show(key="reset_sign_in_again")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Back", key="reset_back_to_review", icon=":material/arrow_back:", on_click=_back, args=(desk,),
                  disabled=desk.is_busy)  # fmt: skip
        st.button(f"Reset {made.target}", key="reset_fire", icon=":material/delete_forever:", disabled=bool(why_not),
                  on_click=_fire, args=(edges, desk, made))  # fmt: skip
        st.markdown(
            f":small[{why_not or 'Everything is compared once more before the first removal.'}]", width="stretch"
        )


def _summary(edges: Edges, made: MadePlan) -> str:
    plan = made.plan
    states, digests = made.count("Terraform state"), made.count("Digest item")
    with_digest = f" with {'its' if digests == 1 else 'their'} digest {'item' if digests == 1 else 'items'}"
    verb = "Removes" if plan.state_mode is StateMode.REMOVE else "Empties"
    requests, entries = len(plan.requests), len(plan.entries)
    more = f", {words.counted(requests, 'request')} and {words.counted(entries, 'index entry', 'index entries')}"
    if plan.state_mode is StateMode.EMPTY:
        more = f"; removes {more.removeprefix(', ')}"
    resources = plan.resource_count
    stay = words.counted(resources, "cloud resource stays and loses its", "cloud resources stay and lose their")
    lost = f" {stay} state." if resources else ""
    until = f"{edges.clock() + timedelta(days=edges.resets.undo_days):%-d %B}"
    return (
        f"{verb} {words.counted(states, 'state')}{with_digest if digests else ''}{more} of "
        f"**{words.plain(made.target)}**.{lost} Can be undone until {until}, as long as nobody has applied again."
    )


def _show_failure(desk: ResetDesk) -> None:
    """Why the last try did not begin; nothing was changed then."""
    deed = desk.failed
    if deed is None:
        return
    if isinstance(deed.error, TfPilotError):
        shell.show_error(deed.error, title="Nothing was changed")
    elif deed.error is not None:
        st.error("The log of the portal has the whole failure.", title="It failed before its first step",
                 icon=":material/error:")  # fmt: skip


def _show_beginning(desk: ResetDesk, deed: Deed) -> None:
    """That the reset is about to begin. Asks for a new page once it has, or was refused."""

    @st.fragment(run_every=_LOOK_OFTEN)
    def tick() -> None:
        if deed.reset_id or desk.has_news:
            st.rerun()
        st.progress(0.0, text="Looking at every guard once more before the reset begins.")

    tick()


def _why_not(edges: Edges, desk: ResetDesk, made: MadePlan) -> Iterator[str]:
    """Why the reset cannot begin now, for a person; nothing where it can. The operation decides for itself."""
    refusal = reset_acts.why_not(edges, shell.operator(), made.plan.target.environment)
    if refusal:
        yield words.plain(refusal)
    if not is_fresh(shell.operator(), edges.clock()):
        yield "Sign in again first."
    if desk.is_busy:
        yield "The last click is still being carried out."
    checked = reset_guards_view.found(desk, made.target, made.choices)
    if checked is None:
        yield "The guards are being checked."
    elif not checked.passed:
        against = len(reset_guards_view.refusals(checked))
        yield f"{words.counted(against, 'guard refuses', 'guards refuse')} by now."
    if desk.compared.value_of(made.digest):
        yield "What is there now is not what was reviewed. Go back and make a new plan."
    if edges.resets.needs_second_admin and not _is_approved(desk, made):
        yield "A second admin has to approve this plan first."
    if not all(st.session_state.get(key) for key in _ACKNOWLEDGED.values()):
        yield "Both sentences have to be true and ticked."
    if not (st.session_state.get(TYPED) or "").strip():
        yield "Type the phrase, then press Enter."


def _show_checks(edges: Edges, desk: ResetDesk, made: MadePlan) -> None:
    with st.container(border=True, gap="small"):
        st.markdown("**What will be checked again**")
        reset_header.watch(
            desk,
            lambda: (id(desk.scope.value), id(desk.approval.value), id(desk.compared.value)),
            lambda: _show_table(edges, desk, made),
            every=_TICK,
        )
        checked = reset_guards_view.found(desk, made.target, made.choices)
        if checked is not None and not checked.passed:
            reset_guards_view.show_table(checked)
        for difference in list(desk.compared.value_of(made.digest) or ())[:5]:
            st.markdown(f"- {words.plain(difference)}")
        _show_asking(edges, desk, made)


def _show_table(edges: Edges, desk: ResetDesk, made: MadePlan) -> None:
    _begin_looking(edges, desk, made)
    rows = [_guards_row(edges, desk, made), _digest_row(edges, desk, made), _approval_row(edges, desk, made)]
    tables.show([{"Result": result, "Check": check} for result, check in rows], alt="What is checked before the reset")
    st.button("Check again", key="reset_compare_again", icon=":material/refresh:", type="tertiary",
              disabled=desk.compared.is_busy, on_click=desk.look_again)  # fmt: skip


def _guards_row(edges: Edges, desk: ResetDesk, made: MadePlan) -> tuple[str, str]:
    checked = reset_guards_view.found(desk, made.target, made.choices)
    if checked is None:
        return reset_looks.LOOKING.badge, "Guards"
    passed = sum(check.passed for check in checked.checks)
    look = reset_looks.PASSED if checked.passed else reset_looks.REFUSED
    return look.badge, f"{passed} of {len(checked.checks)} guards, {words.lasting(edges.clock() - checked.at)} ago"


def _digest_row(edges: Edges, desk: ResetDesk, made: MadePlan) -> tuple[str, str]:
    told = desk.compared.value_of(made.digest)
    digest = f"Digest {short(made.digest)}"
    if told is None:
        failed = desk.compared.error is not None and not desk.compared.is_busy
        return (reset_looks.LATER.badge, f"{digest}: could not be compared now") if failed else (
            reset_looks.LOOKING.badge, f"{digest}: everything is read again"
        )  # fmt: skip
    if told:
        return reset_looks.DIFFERS.badge, f"{digest} is of something else by now"
    at = desk.compared.at or edges.clock()
    return reset_looks.PASSED.badge, f"{digest} unchanged, {words.lasting(edges.clock() - at)} ago"


def _approval_row(edges: Edges, desk: ResetDesk, made: MadePlan) -> tuple[str, str]:
    request, approval = desk.approval.value_of(made.digest) or (None, None)
    if approval is not None:
        at = words.clock_time(approval.at, edges.clock())
        return reset_looks.PASSED.badge, f"Second admin: {words.plain(approval.login)} approved at {at} UTC"
    asked = f"asked at {words.clock_time(request.at, edges.clock())} UTC, no answer yet" if request else "nobody yet"
    needed = edges.resets.needs_second_admin
    return (reset_looks.NEEDED if needed else reset_looks.OPTIONAL).badge, f"Second admin: {asked}"


def _is_approved(desk: ResetDesk, made: MadePlan) -> bool:
    _, approval = desk.approval.value_of(made.digest) or (None, None)
    return approval is not None


def _show_asking(edges: Edges, desk: ResetDesk, made: MadePlan) -> None:
    request, approval = desk.approval.value_of(made.digest) or (None, None)
    if approval is not None:
        return
    if request is None:
        refusal = reset_acts.why_not(edges, shell.operator(), made.plan.target.environment)
        st.button("Ask a second admin", key="reset_ask", icon=":material/person_add:",
                  disabled=desk.is_busy or bool(refusal), on_click=_ask, args=(edges, desk, made))  # fmt: skip
        st.markdown(":small[They see this plan and approve exactly this digest.]")
        return
    st.markdown(":small[Send them this address. They see this plan and approve exactly this digest:]")
    st.code(f"{(st.context.url or '').partition('?')[0]}?approve={made.digest}", language=None, wrap_lines=True)


def _ask(edges: Edges, desk: ResetDesk, made: MadePlan) -> None:
    reset_address.touched()
    reset_acts.begin_ask(edges, desk, shell.operator(), made=made)


def _back(desk: ResetDesk) -> None:
    reset_address.touched()
    desk.step, desk.failed = Step.REVIEW, None


def _fire(edges: Edges, desk: ResetDesk, made: MadePlan) -> None:
    reset_address.touched()
    acknowledged = frozenset(each for each, key in _ACKNOWLEDGED.items() if st.session_state.get(key))
    confirmation = Confirmation(made.digest, st.session_state[TYPED], acknowledged, made.reason)
    reset_acts.begin_reset(edges, desk, shell.operator(), made=made, confirmation=confirmation)
    deed = desk.deed
    if deed is not None and (deed.verb is not DeedVerb.APPLY or deed.digest != made.digest):
        st.toast(f"{words.plain(deed.operator.login)} was first: this is what they do.", icon=":material/call_split:")
