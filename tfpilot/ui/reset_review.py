"""Step 2, Review: exactly what the reset would do, to how many things, and whom it concerns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import streamlit as st

from tfpilot.core.reset_plan import ArchiveCase
from tfpilot.core.reset_plan_document import render_plan
from tfpilot.core.reset_plan_report import ORPHANS, PlanLine, plan_markdown, size_text
from tfpilot.core.terraform_state import TypeCount
from tfpilot.edges import Edges
from tfpilot.ui import reset_address, reset_made, reset_scope, tables, words
from tfpilot.ui.reset_desk import ResetDesk, Step
from tfpilot.ui.reset_looks import short
from tfpilot.ui.reset_made import MadePlan

_ROWS: Final = 8
_CASES: Final = {
    ArchiveCase.NEW: ("nothing", "copied there"),
    ArchiveCase.IDENTICAL: ("the same copy", "it is kept"),
    ArchiveCase.OLDER: ("an older copy", "it is backed up, then replaced"),
    ArchiveCase.KEPT: ("a newer copy", "it is kept, ours is put aside"),
}


def show(edges: Edges, desk: ResetDesk, made: MadePlan) -> None:
    """The step."""
    show_plan(edges, made)
    with st.container(horizontal=True):
        st.button(
            "Back", key="reset_back_to_scope", icon=":material/arrow_back:", on_click=_go, args=(desk, Step.SCOPE)
        )
        st.button("Go on to confirm", key="reset_go_on", icon=":material/arrow_forward:", icon_position="right",
                  type="primary", on_click=_go, args=(desk, Step.CONFIRM))  # fmt: skip


def show_plan(edges: Edges, made: MadePlan) -> None:
    """The plan in cards, for whoever is to confirm or to approve it."""
    _show_lines(edges, made)
    left, right = st.columns((7, 5))
    with left:
        _show_resources(made)
        _show_requests(made)
    with right:
        _show_people(edges, made)
        _show_downloads(made)


def _show_lines(edges: Edges, made: MadePlan) -> None:
    with st.container(border=True, gap="small"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.markdown(f"**The plan for {words.plain(made.target)}**", width="content")
            at = words.clock_time(made.plan.planned_at, edges.clock())
            told = f"digest {short(made.digest)} · made {at} UTC · nothing has been changed"
            st.markdown(f":small[:material/tag: {told}]", width="content")
        count, size = made.total
        total = {
            "What": "**Total**",
            "Count": f"**{words.counted(count, 'object')}**",
            "Size": f"**{size_text(size)}**",
            "What happens": "",
            "Undo": "",
        }
        tables.show([*(_row(line) for line in made.lines), total], alt=f"The plan: {words.counted(count, 'object')}")
        for state in made.plan.states:
            if state.summary is not None and state.summary.problem:
                st.warning(f"{words.code(state.object_key)}: {words.plain(words.sentence(state.summary.problem))}",
                           icon=":material/warning:")  # fmt: skip


def _row(line: PlanLine) -> dict[str, str]:
    size = words.NOTHING if line.size_bytes is None else size_text(line.size_bytes)
    undo = "yes" if line.count else words.NOTHING
    count = words.counted(line.count, line.noun)
    return {"What": line.what, "Count": count, "Size": size, "What happens": line.happens, "Undo": undo}


def _show_resources(made: MadePlan) -> None:
    with st.container(border=True, gap="small"):
        count = made.plan.resource_count
        several = "these states" if len(made.plan.states) > 1 else "this state"
        st.markdown(f"**Resources in {several}: {words.number(count)}**")
        if not made.types:
            st.markdown("None: no cloud resource loses its state.")
            return
        if count:
            st.warning(ORPHANS, icon=":material/warning:")
        tables.show(_type_rows(made.types), alt=f"Resources by type: {words.counted(len(made.types), 'type')}")
        listed = sum(each.count for each in made.types)
        st.download_button(
            f"All {words.number(listed)} as CSV",
            data=lambda: reset_made.resources_csv(made.plan),
            file_name=f"{made.target}-resources.csv",
            mime="text/csv",
            key="reset_resources_csv",
            icon=":material/download:",
            on_click="ignore",
        )


def _type_rows(types: Sequence[TypeCount]) -> list[dict[str, str]]:
    rows = [
        {"Type": words.code(each.type), "Mode": words.plain(each.mode), "Count": words.number(each.count),
         "Address": _addresses(each.addresses)}
        for each in types[:_ROWS]
    ]  # fmt: skip
    rest = types[_ROWS:]
    if rest:
        count = words.number(sum(each.count for each in rest))
        more = words.counted(len(rest), "more type")
        rows.append({"Type": more, "Mode": "", "Count": count, "Address": ""})
    return rows


def _addresses(addresses: Sequence[str]) -> str:
    more = f", … +{words.number(len(addresses) - 1)}" if len(addresses) > 1 else ""
    return f"{words.plain(addresses[0])}{more}"


def _show_requests(made: MadePlan) -> None:
    plan = made.plan
    with st.container(border=True, gap="small"):
        st.markdown(f"**Requests: {words.number(len(plan.requests))}**")
        if plan.requests:
            rows = [
                {
                    "In history there is": there,
                    "Requests": words.number(made.cases[case]),
                    "What becomes of it": becomes,
                }
                for case, (there, becomes) in _CASES.items()
                if made.cases[case]
            ]
            tables.show(rows, alt=f"Requests by what stands in history: {words.counted(len(plan.requests), 'request')}")
            st.markdown(
                ":small[Each is removed from the list only after its copy was read back. One that somebody edits "
                "meanwhile stays.]"
            )
        else:
            st.markdown("None is in scope.")
        reset_scope.show_undecided(plan.undecided, key="reset_plan_undecided")
        if plan.requests or plan.undecided:
            st.download_button(
                "Requests as CSV",
                data=lambda: reset_made.requests_csv(plan),
                file_name=f"{made.target}-requests.csv",
                mime="text/csv",
                key="reset_requests_csv",
                icon=":material/download:",
                on_click="ignore",
            )


def _show_people(edges: Edges, made: MadePlan) -> None:
    with st.container(border=True, gap="small"):
        people = made.people
        st.markdown(f"**People concerned: {words.number(len(people))}**")
        if not people:
            st.markdown("Nobody: no request is in scope.")
            return
        now = edges.clock()
        rows = [
            {
                "Created by": words.plain(person.login) or "nobody named",
                "Requests": words.number(person.request_count),
                "Last activity": words.clock_time(person.last_activity, now) if person.last_activity else words.NOTHING,
            }
            for person in people[:_ROWS]
        ]
        rest = people[_ROWS:]
        if rest:
            count = words.number(sum(person.request_count for person in rest))
            rows.append({"Created by": f"{len(rest)} more", "Requests": count, "Last activity": ""})
        tables.show(rows, alt=f"People concerned: {words.counted(len(people), 'person', 'people')}")


def _show_downloads(made: MadePlan) -> None:
    with st.container(border=True, gap="small"):
        st.markdown("**Compare again before you go on**")
        st.markdown(
            ":small[Before anything is removed, everything is read again. If the digest differs, the reset refuses and "
            "releases its lock.]"
        )
        with st.container(horizontal=True):
            st.download_button(
                "Plan as JSON",
                data=lambda: render_plan(made.plan),
                file_name=f"{made.target}-plan.json",
                mime="application/json",
                key="reset_plan_json",
                icon=":material/download:",
                on_click="ignore",
            )
            st.download_button(
                "As Markdown",
                data=lambda: plan_markdown(made.plan),
                file_name=f"{made.target}-plan.md",
                mime="text/markdown",
                key="reset_plan_markdown",
                icon=":material/download:",
                on_click="ignore",
            )


def _go(desk: ResetDesk, step: Step) -> None:
    reset_address.touched()
    desk.step, desk.outcome = step, None
