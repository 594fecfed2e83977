"""A planned fix of the run index step by step, what it came to, and taking it back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

import streamlit as st

from tfpilot.core.index_fixes import FixKind, FixOutcome, FixPlan, FixReport, FixResult, IndexFix, MustHold
from tfpilot.core.index_report import fix_answer, plan_answer
from tfpilot.core.roles import Right
from tfpilot.core.run_index import PREFIX
from tfpilot.edges import Edges
from tfpilot.operations.index_fixes import list_fixes
from tfpilot.ui import index_acts, shell, tables, words
from tfpilot.ui.index_acts import Fixed
from tfpilot.ui.index_desk import IndexDesk, Outcome, PlanSize, Verb, size_of
from tfpilot.ui.looks import Look

_STEPS_SHOWN: Final = 20
_FIXES_SHOWN: Final = 20

_KINDS: Final[Mapping[FixKind, Look]] = {
    FixKind.BACKFILL: Look("write", "blue", "add"),
    FixKind.RESTORE: Look("write again", "blue", "restore"),
    FixKind.REMOVE: Look("remove", "red", "delete"),
}
_OUTCOMES: Final[Mapping[FixOutcome, Look]] = {
    FixOutcome.DONE: Look("done", "green", "check_circle"),
    FixOutcome.CHANGED: Look("changed meanwhile", "orange", "call_split"),
    FixOutcome.REFUSED: Look("refused", "orange", "block"),
    FixOutcome.FAILED: Look("failed", "red", "error"),
}
_BACKUPS: Final[Mapping[FixKind, str]] = {
    FixKind.BACKFILL: "none needed: nothing is there",
    FixKind.RESTORE: "what stands there now",
    FixKind.REMOVE: "what stands there now",
}
_UNDOS: Final[Mapping[FixKind, str]] = {
    FixKind.BACKFILL: "yes: removes it again",
    FixKind.RESTORE: "yes: writes back what stood there",
    FixKind.REMOVE: "yes: writes it back",
}


def show_plan(edges: Edges, desk: IndexDesk) -> None:
    """The plan that lies on the desk, with the button that makes it true."""
    plan = desk.plan
    if plan is None:
        return
    with st.container(border=True, gap="small"):
        if not plan.fixes:
            _show_empty_plan(desk)
            return
        _show_head(edges, desk, plan)
        tables.show([_step_cells(number, fix) for number, fix in enumerate(plan.fixes[:_STEPS_SHOWN], 1)],
                    alt=f"Planned steps: {words.counted(len(plan.fixes), 'step')}")  # fmt: skip
        _show_rest(plan)


def show_outcome(edges: Edges, desk: IndexDesk, outcome: Outcome) -> None:
    """What a fix or its undo came to, until the next click."""
    fixed: Fixed = outcome.result
    report, is_undo = fixed.report, outcome.verb is Verb.UNDO
    failed = [result for result in report.results if result.outcome is not FixOutcome.DONE]
    done = len(report.results) - len(failed)
    verb = "taken back" if is_undo else "fixed"
    if failed:
        st.warning(
            f"{words.counted(done, 'entry', 'entries')} {verb}, {words.number(len(failed))} not: those are told first.",
            title=_title(done, is_undo=is_undo),
            icon=":material/warning:",
        )
    else:
        st.success(f"{words.counted(done, 'entry', 'entries')} {verb}.", title=_title(done, is_undo=is_undo),
                   icon=":material/check_circle:")  # fmt: skip
    if fixed.audit_error is not None:
        shell.show_error(fixed.audit_error, title="The audit below is from before: run it again")
    if report.results:
        with st.container(border=True, gap="small"):
            _show_results(edges, desk, report, failed, is_undo=is_undo)


def show_earlier(edges: Edges, desk: IndexDesk) -> None:
    """Fixes of late, from whichever tab or command, and taking one back. Listed when it is opened."""
    box = st.expander("Earlier fixes", key="index_earlier", on_change="rerun", type="compact")
    if not box.open:
        return
    with box:
        desk.fixes.want("fixes", lambda: list_fixes(edges), now=edges.clock())
        desk.fixes.collect(edges.clock())
        if desk.fixes.error is not None:
            shell.show_error(desk.fixes.error, title="The fixes could not be listed")
        found = desk.fixes.value
        if found is None:
            if desk.fixes.error is None:
                st.skeleton(60)
            return
        if not found:
            st.markdown("Nothing was fixed here yet.")
            return
        now = edges.clock()
        shown = found[:_FIXES_SHOWN]
        tables.show(
            [
                {
                    "Fix": words.code(record.fix_id),
                    "At (UTC)": words.clock_time(record.at, now),
                    "By": words.plain(record.operator),
                }
                for record in shown
            ],
            alt=f"Earlier fixes, newest first: {words.counted(len(shown), 'row')}",
        )
        refusal = index_acts.why_not(edges, shell.operator(), Right.FIX_INDEX)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            chosen = st.selectbox("Fix", [record.fix_id for record in shown], key="index_earlier_which", width=420)
            _show_undo(edges, desk, chosen or "", key="index_earlier_undo", refusal=refusal)
            told = refusal or "Undo touches only what is still as the fix left it."
            st.markdown(f":small[{words.plain(told)}]", width="content")


def _show_empty_plan(desk: IndexDesk) -> None:
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown("**Nothing to fix:** none of these findings has a safe fix.", width="content")
        st.button("Discard", key="index_discard", on_click=_discard, args=(desk,))


def _show_head(edges: Edges, desk: IndexDesk, plan: FixPlan) -> None:
    size = desk.plan_size.get(plan.digest, lambda: size_of(plan))
    refusal = index_acts.why_not(edges, shell.operator(), size.right, *size.environments)
    count = words.counted(len(plan.fixes), "fix", "fixes")
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        with st.container(width="content", gap="xsmall"):
            st.markdown(f"**Plan {words.code(plan.digest)}: {_told(size)}**")
            st.markdown(
                "Nothing is written yet. Each step touches only the version that the audit saw, is looked at once more "
                "right before, and keeps a backup. It can be undone."
            )
            if refusal:
                st.markdown(f":orange-badge[:material/block: Refused] {words.plain(refusal)}")
        with st.container(horizontal=True, width="content"):
            st.button("Discard", key="index_discard", on_click=_discard, args=(desk,), disabled=desk.is_busy)
            st.button(
                f"Apply {count}",
                key="index_apply",
                icon=":material/build:",
                type="primary",
                disabled=desk.is_busy or bool(refusal),
                on_click=index_acts.begin_fix,
                args=(edges, desk, shell.operator()),
                kwargs={"shown": plan},
            )


def _told(size: PlanSize) -> str:
    counts = size.counts
    told = {
        FixKind.BACKFILL: f"write {words.counted(counts[FixKind.BACKFILL], 'missing entry', 'missing entries')}",
        FixKind.REMOVE: f"remove {words.counted(counts[FixKind.REMOVE], 'entry', 'entries')}",
        FixKind.RESTORE: f"write {words.counted(counts[FixKind.RESTORE], 'earlier entry', 'earlier entries')} again",
    }
    return ", ".join(text for kind, text in told.items() if counts[kind])


def _step_cells(number: int, fix: IndexFix) -> Mapping[str, str]:
    version = f"version {words.code(fix.etag, longest=8)}" if fix.etag else "no entry there"
    holds = "" if fix.must_hold is MustHold.NOTHING else f", and {fix.must_hold.value}"
    return {
        "": str(number),
        "Step": _KINDS[fix.kind].badge,
        "Entry": words.code(fix.key.removeprefix(PREFIX)),
        "What is written": words.code(fix.content.decode("utf-8", errors="replace"), longest=160)
        if fix.content is not None
        else words.NOTHING,
        "Only if": f"{version}{holds}",
        "Backup": _BACKUPS[fix.kind],
        "Can be undone": _UNDOS[fix.kind],
    }


def _show_rest(plan: FixPlan) -> None:
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        count = words.counted(len(plan.fixes), "step")
        is_cut = len(plan.fixes) > _STEPS_SHOWN
        st.markdown(f"The first {_STEPS_SHOWN} of {count}; the JSON has all." if is_cut else "", width="content")
        st.download_button(
            "Plan as JSON",
            data=lambda: json.dumps(plan_answer(plan), indent=2),
            file_name=f"run-index-plan-{plan.digest}.json",
            mime="application/json",
            key="index_plan_json",
            icon=":material/download:",
            on_click="ignore",
        )


def _title(done: int, *, is_undo: bool) -> str:
    if not done:
        return "Nothing was written"
    return "Taken back" if is_undo else "Fixed"


def _show_results(
    edges: Edges, desk: IndexDesk, report: FixReport, failed: Sequence[FixResult], *, is_undo: bool
) -> None:
    ordered = [*failed, *(result for result in report.results if result.outcome is FixOutcome.DONE)]
    tables.show(
        [
            {
                "Outcome": _OUTCOMES[result.outcome].badge,
                "Finding": words.code(result.code),
                "Entry": words.code(result.key.removeprefix(PREFIX)),
                "Step": words.plain(f"undo: {result.kind.value}" if is_undo else result.kind.value),
                "Why": words.plain(result.reason),
            }
            for result in ordered[:_STEPS_SHOWN]
        ],
        alt=f"Results: {words.counted(len(report.results), 'step')}",
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        if not is_undo and len(failed) < len(report.results):
            _show_undo(edges, desk, report.fix_id, key="index_undo",
                       refusal=index_acts.why_not(edges, shell.operator(), Right.FIX_INDEX))  # fmt: skip
            command = words.code(f"python -m tfpilot run-index undo {report.fix_id}", longest=120)
            st.markdown(f"or {command}", width="content")
        st.download_button(
            "Results as JSON",
            data=lambda: json.dumps(fix_answer(report), indent=2),
            file_name=f"run-index-{report.fix_id}.json",
            mime="application/json",
            key="index_results_json",
            icon=":material/download:",
            on_click="ignore",
        )


def _show_undo(edges: Edges, desk: IndexDesk, fix_id: str, *, key: str, refusal: str) -> None:
    st.button(
        "Undo this fix",
        key=key,
        icon=":material/undo:",
        disabled=desk.is_busy or bool(refusal) or not fix_id,
        on_click=_undo,
        args=(edges, desk, fix_id),
    )


def _undo(edges: Edges, desk: IndexDesk, fix_id: str) -> None:
    desk.fixes.forget()
    index_acts.begin_undo(edges, desk, shell.operator(), fix_id=fix_id)


def _discard(desk: IndexDesk) -> None:
    desk.plan = None
