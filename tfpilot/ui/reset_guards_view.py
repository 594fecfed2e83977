"""The guards as a live checklist: refusals first, each with why, looked at again and again while somebody looks."""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from urllib.parse import quote

import streamlit as st

from tfpilot.core.reset_guards import Check, Guard, Verdict
from tfpilot.core.reset_steps import seen_lock_places
from tfpilot.core.reset_target import ResetTarget
from tfpilot.edges import Edges
from tfpilot.operations.reset_views import Choices, ScopeCheck, check_scope
from tfpilot.ui import locks_address, reset_header, shell, tables, words
from tfpilot.ui.reset_desk import GUARDS_EVERY, ResetDesk, person
from tfpilot.ui.reset_looks import VERDICTS

_TICK: Final = timedelta(seconds=2)
_ORDER: Final = (Verdict.REFUSED, Verdict.UNCHECKED, Verdict.PASSED)


def begin(edges: Edges, desk: ResetDesk, target: str, choices: Choices) -> None:
    """Has the guards of the target looked at, again where they were a while ago."""
    operator, now = shell.operator(), edges.clock()
    desk.scope.renew(after=GUARDS_EVERY, now=now)
    desk.scope.want(_what(target, choices), lambda: check_scope(edges, target, choices, operator=operator), now=now)


def found(desk: ResetDesk, target: str, choices: Choices) -> ScopeCheck | None:
    """The last look at exactly this; None where there was none yet."""
    return desk.scope.value_of(_what(target, choices))


def last(desk: ResetDesk, target: str) -> ScopeCheck | None:
    """The last look at this target, whatever was accepted then; None where there was none yet."""
    value = desk.scope.value
    return value if value is not None and value.target.name == target else None


def show(edges: Edges, desk: ResetDesk, target: str, choices: Choices) -> None:
    """The card."""
    with st.container(border=True, gap="small"):
        checked = last(desk, target)

        def draw() -> None:
            begin(edges, desk, target, choices)
            with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
                st.markdown("**Guards**", width="content")
                with st.container(horizontal=True, vertical_alignment="center", width="content"):
                    st.markdown(f":small[{_told(edges, desk, checked)}]", width="content")
                    st.button("Check again", key="reset_check_again", icon=":material/refresh:", type="tertiary",
                              disabled=desk.scope.is_busy, on_click=desk.scope.forget)  # fmt: skip

        reset_header.watch(desk, lambda: id(desk.scope.value), draw, every=_TICK)
        if checked is None:
            if desk.scope.error is None:
                st.skeleton(360)
            else:
                shell.show_error(desk.scope.error, title="The guards could not be looked at")
            return
        show_table(checked)
        st.markdown(":small[A guard that cannot be checked counts as refused. None can be switched off here.]")


def show_table(checked: ScopeCheck) -> None:
    """One line per guard, what does not pass first."""
    ordered = sorted(checked.checks, key=lambda check: _ORDER.index(check.verdict))
    rows = [
        {"Result": VERDICTS[check.verdict].badge, "Guard": str(check.guard.value), "Why": _why(check, checked.target)}
        for check in ordered
    ]
    passed = sum(check.passed for check in checked.checks)
    tables.show(rows, alt=f"Guards: {passed} of {len(rows)} passed")


def refusals(checked: ScopeCheck) -> list[Check]:
    """The guards that do not pass."""
    return [check for check in checked.checks if not check.passed]


def refuses(checked: ScopeCheck | None, guard: Guard) -> bool:
    """Whether that guard was checked and says no."""
    return checked is not None and any(
        check.guard is guard and check.verdict is Verdict.REFUSED for check in checked.checks
    )


def link_to_lock(target: ResetTarget, why: str) -> str:
    """The page Locks, at the first of the target's states of which `why` names a lock."""
    named = (
        state.object_key
        for state in target.states
        if any(place.key in why for place in seen_lock_places(target, state.object_key))
    )
    address = locks_address.address_of(target.name, next(named, target.states[0].object_key))
    return f"locks?lock={quote(address, safe='')}"


def _what(target: str, choices: Choices) -> tuple[object, ...]:
    return (target, choices.accepts_no_versioning, choices.accepts_most_requests, person(shell.operator()))


def _told(edges: Edges, desk: ResetDesk, checked: ScopeCheck | None) -> str:
    if checked is None:
        return ":blue-badge[:material/sync: Checking]"
    passed = sum(check.passed for check in checked.checks)
    age = "checking again" if desk.scope.is_busy else f"checked {words.lasting(edges.clock() - checked.at)} ago"
    return f"live, {age} · {passed} of {len(checked.checks)} passed"


def _why(check: Check, target: ResetTarget) -> str:
    told = words.plain(check.why)
    if check.passed:
        return told
    link = f" [see the lock]({link_to_lock(target, check.why)})" if check.guard is Guard.LOCKS else ""
    hint = f" {words.plain(words.sentence(check.hint))}" if check.hint else ""
    return f"**{told}**.{hint}{link}"
