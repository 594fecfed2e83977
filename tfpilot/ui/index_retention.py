"""What removes old entries of the run index, and installing the portal's own rule after a look at the difference."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import streamlit as st

from tfpilot.core.bucket_rules import Versioning, name_of, rules_of
from tfpilot.core.index_listing import IndexListing
from tfpilot.core.retention import LEAST_DAYS, RULE_ID, LifecyclePlan, count_stored_days
from tfpilot.core.roles import Right
from tfpilot.edges import Edges
from tfpilot.operations.retention import Applied, Retention, show_retention
from tfpilot.ui import index_acts, shell, tables, words
from tfpilot.ui.index_desk import IndexDesk, Shelf

OLD_VERSIONS: Final = "index_old_versions"
OLD_VERSIONS_DAYS: Final = 30
_AT_MOST_EVERY: Final = timedelta(minutes=1)


def show(edges: Edges, desk: IndexDesk, shelf: Shelf, listing: IndexListing) -> None:
    """The card: what the rules do now, and what the portal's rule would do."""
    with st.container(border=True, gap="small"):
        st.markdown("**Retention**")
        _begin_reading(edges, desk, shelf, listing)
        reading = desk.retention
        if reading.error is not None:
            shell.show_error(reading.error, title="The bucket's rules could not be read")
        if reading.value is None:
            if reading.error is None:
                st.skeleton(220)
            return
        _show_state(reading.value)
        _show_acts(edges, desk, reading.value)


def show_difference(edges: Edges, desk: IndexDesk) -> None:
    """The difference that was asked for, with the button that writes it."""
    plan = desk.rule
    if plan is None:
        return
    with st.container(border=True, gap="small"):
        refusal = index_acts.why_not(edges, shell.operator(), Right.SET_RETENTION)
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            with st.container(width="content", gap="xsmall"):
                st.markdown(f"**{_heading(plan)}**")
                st.markdown(_promise(plan))
                if refusal and plan.after is not None:
                    st.markdown(f":orange-badge[:material/block: Refused] {words.plain(refusal)}")
            with st.container(horizontal=True, width="content"):
                st.button("Discard", key="index_rule_discard", on_click=_discard, args=(desk,), disabled=desk.is_busy)
                if plan.after is not None:
                    st.button(
                        "Install rule",
                        key="index_install",
                        icon=":material/policy:",
                        type="primary",
                        disabled=desk.is_busy or bool(refusal),
                        on_click=_install,
                        args=(edges, desk, plan),
                    )
        _show_notices(plan.notices)
        if plan.difference:
            st.code("\n".join(plan.difference), language=None)


def show_installed(applied: Applied) -> None:
    """What stands after the rule was written, until the next click."""
    if applied.written:
        st.success(f"{words.plain(words.sentence(applied.coverage.sentence))} It was written and read back.",
                   title="The rule is installed", icon=":material/policy:")  # fmt: skip
    else:
        st.info("The bucket's rules say so already.", title="Nothing was written", icon=":material/check_circle:")


def _begin_reading(edges: Edges, desk: IndexDesk, shelf: Shelf, listing: IndexListing) -> None:
    def read() -> Retention:
        # Walks over every entry: once per listing that differs.
        days = shelf.stored_days.get(listing.number, lambda: count_stored_days(listing.keys))
        return show_retention(edges, days)

    now = edges.clock()
    desk.retention.want(("rules", listing.number), read, now=now, at_most_every=_AT_MOST_EVERY)
    desk.retention.collect(now)


def _show_state(retention: Retention) -> None:
    coverage, removals = retention.coverage, retention.removals.values()
    chip = (
        ":green-badge[:material/check_circle: covers every kind]"
        if coverage.is_covered
        else ":orange-badge[:material/warning: none covers the prefix]"
        if not coverage.readings
        else ":orange-badge[:material/warning: not as it should be]"
    )
    today, later = sum(each.today for each in removals), sum(each.later for each in removals)
    rows = [
        ("Lifecycle rule", chip),
        ("Would be removed today", words.counted(today, "entry", "entries")),
        ("In 30 days", words.counted(later, "entry", "entries")),
        ("Bucket versioning", _VERSIONING[retention.stored.versioning]),
    ]
    if retention.stored.versioning is not Versioning.NEVER:
        rows.append(("Old versions", _old_versions(retention)))
    tables.show([{"What": what, "State": state} for what, state in rows],
                alt=f"Retention of the run index: {coverage.sentence}")  # fmt: skip
    told = [f"{words.plain(words.sentence(coverage.sentence))}"] if not coverage.readings else []
    told += [words.plain(words.sentence(reading.sentence)) for reading in coverage.readings]
    told += [words.plain(words.sentence(notice)) for notice in retention.notices if "versions" not in notice]
    st.markdown(f":small[{' '.join(told)}]")


_VERSIONING: Final = {
    Versioning.NEVER: "off: what a rule removes is gone",
    Versioning.ENABLED: "on: a rule only hides entries",
    Versioning.SUSPENDED: "suspended: earlier versions stay",
}


def _old_versions(retention: Retention) -> str:
    days = [each for each in retention.coverage.noncurrent_days.values() if each is not None]
    if len(days) < len(retention.coverage.noncurrent_days):
        return f"kept for ever; {OLD_VERSIONS_DAYS} d offered"
    return f"removed after {max(days)} d"


def _show_acts(edges: Edges, desk: IndexDesk, retention: Retention) -> None:
    stay = _others_stay(retention)
    st.markdown(f"Optional. {stay} See the difference before it can be installed.")
    if retention.stored.versioning is not Versioning.NEVER:
        st.checkbox(f"Also remove old versions after {OLD_VERSIONS_DAYS} days", key=OLD_VERSIONS)
    refusal = index_acts.why_not(edges, shell.operator(), Right.SET_RETENTION)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Show difference",
            key="index_difference",
            icon=":material/difference:",
            disabled=desk.is_busy,
            on_click=_look,
            args=(edges, desk),
        )
        if desk.rule is None:
            st.button("Install rule", key="index_install_later", icon=":material/policy:", disabled=True)
    if refusal:
        st.markdown(f":small[{words.plain(refusal)}]")


def _others_stay(retention: Retention) -> str:
    others = sum(name_of(rule) != RULE_ID for rule in rules_of(retention.stored.configuration))
    if not others:
        return "The bucket has no other rule."
    return f"The bucket's {words.counted(others, 'other rule stays as it is', 'other rules stay as they are')}."


def _look(edges: Edges, desk: IndexDesk) -> None:
    wanted = OLD_VERSIONS_DAYS if st.session_state.get(OLD_VERSIONS) else None
    index_acts.begin_rule_plan(edges, desk, noncurrent_days=wanted)


def _install(edges: Edges, desk: IndexDesk, plan: LifecyclePlan) -> None:
    desk.retention.forget()
    index_acts.begin_install(edges, desk, shell.operator(), shown=plan)


def _discard(desk: IndexDesk) -> None:
    desk.rule = None


def _heading(plan: LifecyclePlan) -> str:
    return f"Lifecycle rules: plan {words.code(plan.digest)}" if plan.after is not None else "Nothing to write"


def _promise(plan: LifecyclePlan) -> str:
    if plan.after is None:
        return "The bucket's rules do already what the portal's rule would do."
    old = f", and old versions {plan.noncurrent_days} days after they were replaced" if plan.noncurrent_days else ""
    return (
        f"Nothing is written yet. From then on S3 removes entries {LEAST_DAYS} days after they were stored{old}; the "
        "portal cannot bring those back. Every other rule stays. It is written only if the bucket is still as this "
        "difference shows it."
    )


def _show_notices(notices: Sequence[str]) -> None:
    for notice in notices:
        st.markdown(f":small[:material/info: {words.plain(words.sentence(notice))}]")
