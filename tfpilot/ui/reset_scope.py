"""Step 1, Scope: what to reset and why, whether the guards let it happen, and what was reset before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import streamlit as st

from tfpilot.core.reset_guards import Guard
from tfpilot.core.reset_plan import StateMode
from tfpilot.core.reset_target import ResetTarget, Undecided
from tfpilot.core.terraform import LockMode
from tfpilot.edges import Edges
from tfpilot.operations.reset_views import Choices, ScopeCheck
from tfpilot.ui import reset_acts, reset_address, reset_guards_view, reset_past, reset_unfinished, shell, tables, words
from tfpilot.ui.reset_desk import ResetDesk

MODE: Final = "reset_mode"
WITH_INDEX: Final = "reset_with_index"
ACCEPT_NO_VERSIONING: Final = "reset_accept_no_versioning"
ACCEPT_MOST: Final = "reset_accept_most"
REASON: Final = "reset_reason"
_ACCEPTANCES: Final = {
    Guard.VERSIONING: (ACCEPT_NO_VERSIONING, "I accept that the backup of this reset is the only other copy"),
    Guard.SHARE: (ACCEPT_MOST, "I accept that this takes more than 90 % of all requests"),
}
_MODES: Final = {StateMode.REMOVE: "Remove", StateMode.EMPTY: "Empty, same lineage"}
_LOCK_MODES: Final = {
    LockMode.DYNAMODB: "table",
    LockMode.LOCKFILE: "lockfile",
    LockMode.BOTH: "both: lockfile and table",
}
_UNDECIDED_SHOWN: Final = 50
LONGEST_REASON: Final = 300


def choices() -> Choices:
    """What is chosen now."""
    state = st.session_state
    return Choices(
        state_mode=StateMode(state.get(MODE) or StateMode.REMOVE),
        with_index=bool(state.get(WITH_INDEX, True)),
        accepts_no_versioning=bool(state.get(ACCEPT_NO_VERSIONING)),
        accepts_most_requests=bool(state.get(ACCEPT_MOST)),
    )


def show(edges: Edges, desk: ResetDesk) -> None:
    """The step."""
    name = reset_address.target_name()
    if reset_address.unknown_target():
        asked = words.code(reset_address.unknown_target())
        st.warning(f"There is no target {asked}; the first one is chosen.", icon=":material/search_off:")
    reset_unfinished.show(edges, desk, name)
    left, right = st.columns((5, 6))
    chosen = choices()
    reset_guards_view.begin(edges, desk, name, chosen)
    with left, st.container(border=True, gap="small"):
        _show_choice(edges, desk, name, chosen)
    with right:
        reset_guards_view.show(edges, desk, name, chosen)
    reset_past.show(edges, desk)


def show_undecided(undecided: tuple[Undecided, ...], *, key: str) -> None:
    """The requests that stay as they are because nobody can tell whose they are, and why."""
    if not undecided:
        return
    with st.expander(f"{words.counted(len(undecided), 'request')} left, cannot be decided", key=key, type="compact"):
        rows = [
            {"Request": f"[{words.plain(each.request_id)}]({shell.request_link(each.request_id)})",
             "Why": words.plain(each.reason)}
            for each in undecided[:_UNDECIDED_SHOWN]
        ]  # fmt: skip
        tables.show(rows, alt=f"Requests that cannot be decided: {words.counted(len(undecided), 'request')}")
        if len(undecided) > _UNDECIDED_SHOWN:
            st.markdown(f":small[The first {_UNDECIDED_SHOWN} are shown; the plan as JSON lists all.]")


def show_acceptances(checked: ScopeCheck | None) -> None:
    """What has to be accepted where a guard refuses for a reason that a person may accept; else nothing."""
    for guard, (key, text) in _ACCEPTANCES.items():
        if reset_guards_view.refuses(checked, guard) or st.session_state.get(key):
            st.checkbox(text, key=key, persist_state="session", on_change=reset_address.touched)


def _show_choice(edges: Edges, desk: ResetDesk, name: str, chosen: Choices) -> None:
    st.markdown("**What to reset**")
    targets = {target.name: target for target in edges.resets.targets}
    st.selectbox(
        "Target",
        list(targets),
        key=reset_address.TARGET,
        format_func=lambda each: f"{each}: {targets[each].environment}, {targets[each].repo}",
        on_change=_chose_target,
        args=(desk,),
    )
    checked = reset_guards_view.last(desk, name)
    _show_target(targets[name], checked)
    st.segmented_control("State", list(StateMode), key=MODE, format_func=_MODES.__getitem__, default=StateMode.REMOVE,
                         required=True, persist_state="session", on_change=reset_address.touched)  # fmt: skip
    st.checkbox("Also remove the run-index entries of these requests", key=WITH_INDEX, value=True,
                persist_state="session", on_change=reset_address.touched)  # fmt: skip
    show_acceptances(checked)
    st.text_input("Reason, kept with the reset", key=REASON, max_chars=LONGEST_REASON,
                  placeholder="What is wrong with the environment", persist_state="session",
                  on_change=reset_address.touched)  # fmt: skip
    why_not = next(_why_not(edges, desk, targets[name], chosen), "")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Make the plan",
            key="reset_make_plan",
            icon=":material/arrow_forward:",
            icon_position="right",
            type="primary",
            disabled=bool(why_not),
            on_click=_plan,
            args=(edges, desk),
        )
        st.markdown(f":small[{why_not or 'Reads everything again. Nothing is changed.'}]", width="stretch")


def _show_target(target: ResetTarget, checked: ScopeCheck | None) -> None:
    scope = checked.scope if checked is not None else None
    table = [("Lock table", words.code(target.lock_table))] if target.lock_table else []
    rows = [
        ("State bucket", words.code(target.bucket)),
        ("State keys", " ".join(words.code(state.object_key) for state in target.states)),
        ("Lock mode", _LOCK_MODES[target.lock_mode]),
        *table,
        ("In scope", words.counted(len(scope.request_ids), "request") if scope is not None else _unread(checked)),
    ]
    alt = f"Target {target.name}"
    tables.show([{"What": what, "Value": value} for what, value in rows], alt=alt)
    if scope is not None:
        show_undecided(scope.undecided, key="reset_undecided")


def _unread(checked: ScopeCheck | None) -> str:
    return "being read" if checked is None else "could not be read"


def _why_not(edges: Edges, desk: ResetDesk, target: ResetTarget, chosen: Choices) -> Iterator[str]:
    """Why no plan can be made now, for a person; nothing where one can."""
    refusal = reset_acts.why_not(edges, shell.operator(), target.environment)
    if refusal:
        yield words.plain(refusal)
    if desk.is_busy:
        yield "The last click is still being carried out."
    if desk.unfinished.value_of(target.name) is not None:
        yield "A reset of this target is not over."
    checked = reset_guards_view.found(desk, target.name, chosen)
    if checked is None:
        yield "The guards are being checked."
    elif not checked.passed:
        against = reset_guards_view.refusals(checked)
        hints = " ".join(words.plain(words.sentence(check.hint)) for check in against[:2] if check.hint)
        yield f"{words.counted(len(against), 'guard refuses', 'guards refuse')}: {hints}"
    if not (st.session_state.get(REASON) or "").strip():
        yield "A reason is needed."


def _chose_target(desk: ResetDesk) -> None:
    """What was accepted was accepted of the other target."""
    reset_address.touched()
    desk.discard_plan()
    for key in (ACCEPT_NO_VERSIONING, ACCEPT_MOST):
        st.session_state[key] = False


def _plan(edges: Edges, desk: ResetDesk) -> None:
    reset_address.touched()
    name = reset_address.target_name()
    reason = st.session_state[REASON].strip()
    reset_acts.begin_plan(edges, desk, shell.operator(), target=name, choices=choices(), reason=reason)
